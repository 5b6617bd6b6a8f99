package service

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 365 * 24 * time.Hour
	// A certificate is replaced when less than a third of its life is left.
	renewPart = 3
)

// keys are a certificate authority and the certificate that it signed, in PEM.
type keys struct{ caCert, caKey, cert, key []byte }

func keysOf(secret *corev1.Secret) keys {
	d := secret.Data
	return keys{caCert: d[keyCACert], caKey: d[keyCAKey], cert: d[corev1.TLSCertKey], key: d[corev1.TLSPrivateKeyKey]}
}

func (k keys) data() map[string][]byte {
	return map[string][]byte{keyCACert: k.caCert, keyCAKey: k.caKey, corev1.TLSCertKey: k.cert, corev1.TLSPrivateKeyKey: k.key}
}

func (k keys) equal(o keys) bool {
	return bytes.Equal(k.caCert, o.caCert) && bytes.Equal(k.caKey, o.caKey) && bytes.Equal(k.cert, o.cert) && bytes.Equal(k.key, o.key)
}

// renew returns the keys as they are while they are good for the hosts, and
// replaces only what is missing, broken or near its end: the authority stays
// as long as it can, so that replicas with an older certificate stay trusted.
func renew(old keys, hosts []string, now time.Time) (keys, error) {
	authority, err := tls.X509KeyPair(old.caCert, old.caKey)
	fresh := err == nil && lasting(authority.Leaf, now)
	if !fresh {
		if old, err = makeAuthority(now); err != nil {
			return keys{}, err
		}
		if authority, err = tls.X509KeyPair(old.caCert, old.caKey); err != nil {
			return keys{}, err
		}
	}
	if leaf, err := tls.X509KeyPair(old.cert, old.key); err == nil && lasting(leaf.Leaf, now) && covers(leaf.Leaf, authority.Leaf, hosts, now) {
		return old, nil
	}
	old.cert, old.key, err = issue(authority, hosts, now)
	return old, err
}

func lasting(c *x509.Certificate, now time.Time) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	return now.After(c.NotBefore) && now.Add(life/renewPart).Before(c.NotAfter)
}

func covers(c, authority *x509.Certificate, hosts []string, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, host := range hosts {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			return false
		}
	}
	return true
}

func makeAuthority(now time.Time) (keys, error) {
	template := template("Knit function service CA", now, caLife)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	cert, key, err := sign(template, nil, nil)
	return keys{caCert: cert, caKey: key}, err
}

func issue(authority tls.Certificate, hosts []string, now time.Time) (cert, key []byte, err error) {
	template := template(hosts[0], now, certLife)
	template.DNSNames = hosts
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return sign(template, authority.Leaf, authority.PrivateKey)
}

// template begins an hour ago, for clocks that are not quite the same.
func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	begin := now.Add(-time.Hour)
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"knit"}},
		NotBefore: begin,
		NotAfter:  begin.Add(life),
	}
}

// sign makes a key and a certificate for it, signed by itself without a parent.
func sign(template, parent *x509.Certificate, parentKey crypto.PrivateKey) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	if parent == nil {
		parent, parentKey = template, private
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %q: %w", template.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key of %q: %w", template.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
