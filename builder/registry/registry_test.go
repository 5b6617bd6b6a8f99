package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/knit-dev/knit/builder/images/registrytest"
)

// client reaches a private registry with a password and the authorities.
func client(t *testing.T, r registrytest.Registry, password string, authorities *x509.CertPool) Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	t.Cleanup(transport.CloseIdleConnections)
	return Client{Keychain: login(password), Transport: transport}
}

type login string

func (l login) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "knit", Password: string(l)}, nil
}

func push(t *testing.T, r registrytest.Registry, config v1.Config) string {
	t.Helper()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.Config(image, config); err != nil {
		t.Fatal(err)
	}
	ref, err := r.Push(t.Context(), "shop/hello", image, "latest")
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func TestAPrivateRegistryWithItsOwnCA(t *testing.T) {
	r := registrytest.Start(t)
	image := push(t, r, v1.Config{})
	if size, err := client(t, r, r.Password, r.CA).Size(t.Context(), image); err != nil || size < 2000 {
		t.Errorf("%d bytes, %v", size, err)
	}
	if _, err := client(t, r, "wrong", r.CA).Size(t.Context(), image); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := client(t, r, r.Password, x509.NewCertPool()).Size(t.Context(), image); !errors.As(err, &unknown) {
		t.Errorf("an unknown authority: %v", err)
	}
	if _, err := client(t, r, r.Password, r.CA).Size(t.Context(), r.Host+"/no/such:image"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an absent image: %v", err)
	}
}

func TestBase(t *testing.T) {
	r := registrytest.Start(t)
	c := client(t, r, r.Password, r.CA)
	digest := "sha256:" + strings.Repeat("a", 64)
	cases := map[string]struct {
		labels map[string]string
		want   Base
		err    string
	}{
		"base":         {map[string]string{lifecycleLabel: `{"runImage":{"reference":"r.example/run@` + digest + `"}}`}, Base{"r.example/run@" + digest, true}, ""},
		"fixed":        {map[string]string{lifecycleLabel: `{}`, rebasableLabel: "false"}, Base{}, ""},
		"by tag":       {map[string]string{lifecycleLabel: `{"runImage":{"reference":"r.example/run:latest"}}`}, Base{"", true}, ""},
		"no reference": {map[string]string{lifecycleLabel: `{"runImage":{"reference":"` + strings.Repeat("x ", 99) + `"}}`}, Base{"", true}, ""},
		"no JSON":      {map[string]string{lifecycleLabel: `<`}, Base{}, "no JSON"},
		"no label":     {nil, Base{}, "no JSON"},
	}
	for name, c2 := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := c.Base(t.Context(), push(t, r, v1.Config{Labels: c2.labels}))
			if got != c2.want || (err == nil) != (c2.err == "") || err != nil && !strings.Contains(err.Error(), c2.err) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestBuilderLabelsAreNotTrusted(t *testing.T) {
	good := `{"stack":{"runImage":{"image":"r.example/run"}},"lifecycle":{"apis":{"platform":{"supported":["0.12"]}}}}`
	cases := map[string]struct {
		env   []string
		label string
		err   string
	}{
		"good":           {[]string{"CNB_USER_ID=1001", "CNB_GROUP_ID=1000"}, good, ""},
		"root":           {[]string{"CNB_USER_ID=0", "CNB_GROUP_ID=1000"}, good, "never run as root"},
		"root's group":   {[]string{"CNB_USER_ID=1", "CNB_GROUP_ID=0"}, good, "never run as root"},
		"negative":       {[]string{"CNB_USER_ID=-1", "CNB_GROUP_ID=1"}, good, "never run as root"},
		"overflow":       {[]string{"CNB_USER_ID=4294967296", "CNB_GROUP_ID=1"}, good, "never run as root"},
		"a word":         {[]string{"CNB_USER_ID=root", "CNB_GROUP_ID=1"}, good, "never run as root"},
		"no users":       {nil, good, "CNB_USER_ID"},
		"not JSON":       {[]string{"CNB_USER_ID=1", "CNB_GROUP_ID=1"}, `[[[`, "no JSON"},
		"no run image":   {[]string{"CNB_USER_ID=1", "CNB_GROUP_ID=1"}, `{}`, "no run image"},
		"odd run image":  {[]string{"CNB_USER_ID=1", "CNB_GROUP_ID=1"}, `{"images":[{"image":"-run-image evil"}]}`, "no run image"},
		"types confused": {[]string{"CNB_USER_ID=1", "CNB_GROUP_ID=1"}, `{"lifecycle":7}`, "no JSON"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := &v1.ConfigFile{Config: v1.Config{Env: c.env, Labels: map[string]string{builderLabel: c.label}}}
			b, err := readBuilder(file)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

func TestClearAndDelete(t *testing.T) {
	r := registrytest.Start(t)
	c := client(t, r, r.Password, r.CA)
	image := push(t, r, v1.Config{})
	tag := r.Host + "/shop/hello:latest"
	if err := c.Clear(t.Context(), tag); err != nil {
		t.Fatal(err)
	}
	if size, err := c.Size(t.Context(), tag); err != nil || size > 500 {
		t.Errorf("after Clear %d bytes: %v", size, err)
	}
	if _, err := c.Size(t.Context(), image); err != nil {
		t.Errorf("what the tag named before: %v", err)
	}
	for range 2 {
		if err := c.Delete(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Size(t.Context(), tag); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
}
