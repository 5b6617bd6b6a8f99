package cli

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a later `knit install` is not told, it keeps.
func TestOtherSettings(t *testing.T) {
	installed := otherSettings(map[string]string{"registry": "r", "git-known-hosts": "k", "keep-builds": "7", "build-allowed-cidrs": "10.1.2.0/24"})
	cases := map[string]struct {
		given, want map[string]string
		err         string
	}{
		"kept":      {nil, map[string]string{"keep-builds": "7", "build-allowed-cidrs": "10.1.2.0/24"}, ""},
		"replaced":  {map[string]string{"keep-builds": "3"}, map[string]string{"keep-builds": "3", "build-allowed-cidrs": "10.1.2.0/24"}, ""},
		"removed":   {map[string]string{"keep-builds": "", "build-allowed-cidrs": ""}, map[string]string{}, ""},
		"added":     {map[string]string{"goproxy": "https://go.corp"}, map[string]string{"keep-builds": "7", "build-allowed-cidrs": "10.1.2.0/24", "goproxy": "https://go.corp"}, ""},
		"wrong":     {map[string]string{"keep-builds": "many"}, nil, "no number"},
		"unknown":   {map[string]string{"keep-build": "3"}, nil, "keep-builds"},
		"flag's":    {map[string]string{"registry": "x"}, nil, "flag of its own"},
		"everybody": {map[string]string{"build-allowed-cidrs": "0.0.0.0/0"}, nil, "stays closed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := maps.Clone(installed)
			got, err := override(installed, c.given)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil || !maps.Equal(before, installed) {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestRangesOfIndexesAreOpened(t *testing.T) {
	ranges, err := platform{Settings: map[string]string{"build-allowed-cidrs": "10.1.2.0/24,10.9.0.0/16"}}.allowedRanges()
	if err != nil || len(ranges) != 2 || ranges[0].String() != "10.1.2.0/24" {
		t.Errorf("%v %v", ranges, err)
	}
}
