package gateway

import (
	"crypto/tls"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// certStore parses TLS secrets once per version. Only the goroutine that builds
// tables uses it.
type certStore struct {
	secret func(types.NamespacedName) *corev1.Secret // nil when there is none
	parsed map[types.NamespacedName]parsedCert
}

type parsedCert struct {
	uid     types.UID
	version string
	cert    *tls.Certificate
	err     error
}

func newCertStore(secret func(types.NamespacedName) *corev1.Secret) *certStore {
	return &certStore{secret: secret, parsed: map[types.NamespacedName]parsedCert{}}
}

// certificate implements certificates.
func (s *certStore) certificate(name types.NamespacedName) (*tls.Certificate, error) {
	secret := s.secret(name)
	if secret == nil {
		delete(s.parsed, name)
		return nil, fmt.Errorf("there is no Secret %s of type %s; create it", name, corev1.SecretTypeTLS)
	}
	if p, ok := s.parsed[name]; ok && p.uid == secret.UID && p.version == secret.ResourceVersion {
		return p.cert, p.err
	}
	p := parsedCert{uid: secret.UID, version: secret.ResourceVersion}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		p.err = fmt.Errorf("certificate and key in Secret %s are not usable, correct %s and %s: %w",
			name, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, err)
	} else {
		p.cert = &pair
	}
	s.parsed[name] = p
	return p.cert, p.err
}

// retain forgets the certificates of all other secrets.
func (s *certStore) retain(used map[types.NamespacedName]bool) {
	for name := range s.parsed {
		if !used[name] {
			delete(s.parsed, name)
		}
	}
}
