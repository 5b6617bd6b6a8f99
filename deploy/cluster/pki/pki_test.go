package pki

import (
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

func TestClusterKeepsItsCertificates(t *testing.T) {
	i := instance.Default()
	i.StateDir = t.TempDir()
	if _, err := OpenCluster(i); err != nil {
		t.Fatal(err)
	}
	before := files(t, i.Path("pki"))
	c, err := OpenCluster(i)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, files(t, i.Path("pki"))); diff != "" {
		t.Errorf("a second start changed certificates (-before +after):\n%s", diff)
	}
	for _, path := range []string{i.Kubeconfig(), c.CA.KeyFile(), c.Kubelet.Key, i.Path("pki", "registry-password")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", path, info.Mode(), err)
		}
	}
}

func TestLeafIsMadeAgainForAnotherAddress(t *testing.T) {
	ca, err := OpenAuthority(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	leaf := Leaf{Name: "server", CommonName: "server", Addresses: []net.IP{net.IPv4(198, 18, 0, 1)}}
	if _, _, err := ca.Issue(leaf); err != nil {
		t.Fatal(err)
	}
	leaf.Addresses = []net.IP{net.IPv4(100, 64, 0, 1)}
	certFile, _, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.VerifyHostname("100.64.0.1"); err != nil {
		t.Error(err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: ca.Pool()}); err != nil {
		t.Errorf("the certificate is not of its authority: %v", err)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}
