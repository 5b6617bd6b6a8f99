// Package pki makes the certificates of an embedded cluster: one CA for
// clients and servers, one for the API aggregation layer, and the leaves that
// each component needs. Keys are ECDSA P-256 in files of mode 0600; what exists and is still
// valid for a while is kept, so that running processes and kubeconfigs go on working.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 2 * 365 * 24 * time.Hour
	// renewBefore is how long before its end a leaf is made anew.
	renewBefore = 90 * 24 * time.Hour
)

// Authority is a CA whose certificate and key lie in one folder.
type Authority struct {
	Dir  string
	Name string
	cert *x509.Certificate
	key  crypto.Signer
}

// Leaf describes a certificate to be signed.
type Leaf struct {
	Name          string   // file name without extension
	CommonName    string   // user, for clients
	Organizations []string // groups, for clients
	DNSNames      []string
	Addresses     []net.IP
}

// OpenAuthority loads the CA <dir>/<name>.crt and .key, or makes it.
func OpenAuthority(dir, name string) (*Authority, error) {
	a := &Authority{Dir: dir, Name: name}
	pair, err := tls.LoadX509KeyPair(a.path("crt"), a.path("key"))
	if err == nil {
		a.cert, err = x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("read CA %s: %w", a.path("crt"), err)
		}
		a.key = pair.PrivateKey.(crypto.Signer)
		return a, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read CA %s: %w; restore the file, or remove the cluster with: knit cluster delete", a.path("crt"), err)
	}
	return a, a.create()
}

func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "knit " + a.Name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make CA %s: %w", a.Name, err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	return write(a.path(""), der, key)
}

// CertFile is the path of the CA certificate in PEM.
func (a *Authority) CertFile() string { return a.path("crt") }

// KeyFile is the path of the CA key in PEM.
func (a *Authority) KeyFile() string { return a.path("key") }

// Pool holds the CA certificate only.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// PEM is the CA certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Issue makes sure that a valid certificate for the leaf lies in the folder and
// returns the paths of certificate and key.
func (a *Authority) Issue(l Leaf) (certFile, keyFile string, err error) {
	base := filepath.Join(a.Dir, l.Name)
	certFile, keyFile = base+".crt", base+".key"
	if a.usable(certFile, keyFile, l) {
		return certFile, keyFile, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: l.CommonName, Organization: l.Organizations},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     l.DNSNames,
		IPAddresses:  l.Addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return "", "", fmt.Errorf("make certificate %s: %w", l.Name, err)
	}
	return certFile, keyFile, write(base, der, key)
}

func (a *Authority) usable(certFile, keyFile string, l Leaf) bool {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return false
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil || time.Until(cert.NotAfter) < renewBefore || cert.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	for _, n := range l.DNSNames {
		if cert.VerifyHostname(n) != nil {
			return false
		}
	}
	for _, ip := range l.Addresses {
		if cert.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return cert.Subject.CommonName == l.CommonName
}

func (a *Authority) path(ext string) string {
	if ext == "" {
		return filepath.Join(a.Dir, a.Name)
	}
	return filepath.Join(a.Dir, a.Name+"."+ext)
}

func write(base string, der []byte, key *ecdsa.PrivateKey) error {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return fmt.Errorf("make certificate folder: %w", err)
	}
	blocks := []struct {
		path, kind string
		data       []byte
	}{{base + ".key", "PRIVATE KEY", keyDER}, {base + ".crt", "CERTIFICATE", der}}
	for _, b := range blocks {
		if err := writeFile(b.path, pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.data})); err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces the file at once, so that a kill leaves the old or the new one.
func writeFile(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return os.Rename(path+".new", path)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // the system's random source is gone
	}
	return n
}

// ServiceAccountKey makes sure that an ECDSA key for service-account tokens
// exists and returns the paths of the private and the public key.
func ServiceAccountKey(dir string) (private, public string, err error) {
	private, public = filepath.Join(dir, "service-account.key"), filepath.Join(dir, "service-account.pub")
	if _, err := os.Stat(public); err == nil {
		return private, public, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	if err := writeFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})); err != nil {
		return "", "", err
	}
	return private, public, writeFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}
