package main

import (
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func parse(t *testing.T, args ...string) (options, error) {
	t.Helper()
	var o options
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, o.check(flags.Args())
}

func TestFlags(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string // part of the error; "" when there is none
	}{
		"defaults":                 {},
		"a word":                   {[]string{"start"}, `unexpected argument "start"`},
		"builds beside itself":     {[]string{"--build-namespace=knit-system"}, "foreign code"},
		"no requests allowed":      {[]string{"--kube-qps=0"}, "must be positive"},
		"an even number of stores": {[]string{"--dead-letter-replicas=2"}, "none of 1, 3 and 5"},
		"no namespace":             {[]string{"--namespace="}, "must not be empty"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POD_NAMESPACE", "")
			_, err := parse(t, c.args...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheCacheHoldsNothingOfTenants(t *testing.T) {
	o, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	for object, by := range o.manager().Cache.ByObject {
		if len(by.Namespaces) != 1 {
			t.Errorf("%T is cached in %d namespaces, want one of the platform's", object, len(by.Namespaces))
		}
	}
}

func TestRegistryAuthoritiesAddToTheSystems(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	dir := t.TempDir()
	if _, err := registryTransport(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("an absent file: %v, want the system's authorities alone", err)
	}
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registryTransport(broken); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestReadyOnlyWhileTheServiceListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	check := listening(listener.Addr().String())
	request := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	if err := check(request); err != nil {
		t.Errorf("listening: %v", err)
	}
	_ = listener.Close()
	if check(request) == nil {
		t.Error("ready although nothing listens")
	}
}
