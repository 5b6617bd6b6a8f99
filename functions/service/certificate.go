package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// Keys of the certificate's Secret, beside tls.crt and tls.key.
const (
	keyCACert = "ca.crt"
	keyCAKey  = "ca.key"
)

// certificate is the serving certificate. It lives in a Secret that all
// replicas share: whoever comes first makes it, the others take it over.
type certificate struct {
	kube            kubernetes.Interface
	namespace, name string // of the Kubernetes Service
	now             func() time.Time

	mu        sync.RWMutex
	current   keys
	listeners []dynamiccertificates.Listener
}

func newCertificate(kube kubernetes.Interface, namespace, name string) *certificate {
	return &certificate{kube: kube, namespace: namespace, name: name, now: time.Now}
}

func (c *certificate) secretName() string { return c.name + "-tls" }

// hosts are the names by which kube-apiserver reaches the server.
func (c *certificate) hosts() []string {
	service := c.name + "." + c.namespace
	return []string{service + ".svc", service + ".svc.cluster.local", service}
}

// ensure loads the certificate, makes it if there is none, and renews it when
// its end is near. Replicas that do so at once agree on the first one's.
func (c *certificate) ensure(ctx context.Context) error {
	const attempts = 5
	for range attempts {
		found, err := c.tryEnsure(ctx)
		if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("keep the serving certificate in Secret %s/%s: %w", c.namespace, c.secretName(), err)
		}
		return c.use(found)
	}
	return fmt.Errorf("keep the serving certificate in Secret %s/%s: it was changed by others %d times in a row; look at who writes it", c.namespace, c.secretName(), attempts)
}

func (c *certificate) tryEnsure(ctx context.Context) (keys, error) {
	secrets := c.kube.CoreV1().Secrets(c.namespace)
	secret, err := secrets.Get(ctx, c.secretName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made, err := renew(keys{}, c.hosts(), c.now())
		if err != nil {
			return keys{}, err
		}
		_, err = secrets.Create(ctx, c.makeSecret(made), metav1.CreateOptions{})
		return made, err
	}
	if err != nil {
		return keys{}, err
	}
	old := keysOf(secret)
	renewed, err := renew(old, c.hosts(), c.now())
	if err != nil || renewed.equal(old) {
		return renewed, err
	}
	secret = secret.DeepCopy()
	secret.Data = renewed.data()
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	return renewed, err
}

func (c *certificate) makeSecret(k keys) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: c.secretName(), Namespace: c.namespace,
			Labels: map[string]string{"app.kubernetes.io/part-of": "knit"},
		},
		Type: corev1.SecretTypeTLS,
		Data: k.data(),
	}
}

// use makes a certificate the one that is served.
func (c *certificate) use(k keys) error {
	if _, err := tls.X509KeyPair(k.cert, k.key); err != nil {
		return fmt.Errorf("the certificate in Secret %s/%s cannot be used (delete the Secret to have another one made): %w", c.namespace, c.secretName(), err)
	}
	c.mu.Lock()
	changed := !k.equal(c.current)
	c.current = k
	listeners := c.listeners
	c.mu.Unlock()
	if changed {
		for _, l := range listeners {
			l.Enqueue()
		}
	}
	return nil
}

// ca is what kube-apiserver trusts.
func (c *certificate) ca() []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current.caCert
}

// Name, CurrentCertKeyContent and AddListener make a
// dynamiccertificates.CertKeyContentProvider.
func (c *certificate) Name() string { return c.namespace + "/" + c.secretName() }

func (c *certificate) CurrentCertKeyContent() (cert, key []byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current.cert, c.current.key
}

func (c *certificate) AddListener(l dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, l)
}
