package instance

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestValidateNamesTheFlag(t *testing.T) {
	cases := map[string]struct {
		change func(*Instance)
		want   string // in the error; none when empty
	}{
		"default":         {change: func(*Instance) {}},
		"long name":       {change: func(i *Instance) { i.Name = "a-name-too-long" }, want: "--name"},
		"shouting name":   {change: func(i *Instance) { i.Name = "Knit" }, want: "--name"},
		"name of a path":  {change: func(i *Instance) { i.Name = "../knit" }, want: "--name"},
		"relative folder": {change: func(i *Instance) { i.StateDir = "state" }, want: "--state-dir"},
		"port zero":       {change: func(i *Instance) { i.HostPort = 0 }, want: "--gateway-port"},
		"overlap":         {change: func(i *Instance) { i.ServiceRange = i.PodRange }, want: "overlap"},
		"IPv6":            {change: func(i *Instance) { i.PodRange = netip.MustParsePrefix("fd00::/16") }, want: "--pod-cidr"},
		"small range":     {change: func(i *Instance) { i.ServiceRange = netip.MustParsePrefix("10.0.0.0/24") }, want: "--service-cidr"},
		"not a network":   {change: func(i *Instance) { i.PodRange = netip.MustParsePrefix("10.0.0.1/16") }, want: "--pod-cidr"},
		"another /16 pair": {change: func(i *Instance) {
			i.PodRange, i.ServiceRange = netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i := Default()
			c.change(&i)
			err := i.Validate()
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Validate says %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestAddressesOfTheHostAreBelowThoseOfPods(t *testing.T) {
	i := Default()
	for _, a := range []netip.Addr{i.BridgeIP(), i.HostIP()} {
		if !a.Less(i.FirstPodIP()) {
			t.Errorf("%s is not reserved: pods begin at %s", a, i.FirstPodIP())
		}
	}
}

func TestLoadTellsWhatIsThere(t *testing.T) {
	i := Default()
	i.StateDir = t.TempDir()
	if _, err := Load(i.StateDir); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v, want ErrNone", err)
	}
	if err := i.Save(); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(i.StateDir); err != nil || got != i {
		t.Errorf("loaded %+v, %v; want %+v", got, err, i)
	}
	i.Version = Version + 1
	if err := i.Save(); err != nil {
		t.Fatal(err)
	}
	var version *VersionError
	if _, err := Load(i.StateDir); !errors.As(err, &version) {
		t.Errorf("another version: %v, want a VersionError", err)
	}
	if err := os.WriteFile(i.Path("instance.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(i.StateDir); err == nil || !strings.Contains(err.Error(), "knit cluster delete") {
		t.Errorf("a broken file: %v, want the next step in it", err)
	}
}
