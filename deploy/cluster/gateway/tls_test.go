package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// certificate makes a self-signed TLS secret and a pool that trusts it.
func certificate(t *testing.T, name string, hosts ...string) (*corev1.Secret, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: hosts, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: serial.String()},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		},
	}, pool
}

// getTLS asks the HTTPS listener, with another Host header than server name if
// host is not empty.
func (w *world) getTLS(pool *x509.CertPool, name, host string) (*http.Response, error) {
	w.Helper()
	c := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.https)
		},
	}}
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "https://"+name, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Host = host
	res, err := c.Do(req)
	if err == nil {
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		res.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return res, err
}

func TestTLSByServerNameWithLiveReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend("x", "http", shows("X-Forwarded-Proto"))
	secrets := w.kube.CoreV1().Secrets("default")
	one, trustOne := certificate(t, "one", "one.test")
	two, trustTwo := certificate(t, "two", "two.test")
	w.create(secrets.Create(t.Context(), one, metav1.CreateOptions{}))
	w.create(secrets.Create(t.Context(), two, metav1.CreateOptions{}))
	ing := ingressFor("x", rule(external, "one.test,two.test,plain.test", pathTo("x")))
	ing.Spec.TLS = []v1alpha1.IngressTLS{
		{Hosts: []string{"one.test"}, SecretName: "one", SecretNamespace: "default"},
		{Hosts: []string{"TWO.test"}, SecretName: "two", SecretNamespace: "default"},
	}
	w.serve(ing)

	for name, pool := range map[string]*x509.CertPool{"one.test": trustOne, "two.test": trustTwo} {
		res, err := w.getTLS(pool, name, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, _ := io.ReadAll(res.Body)
		if res.ProtoMajor != 2 || !strings.Contains(string(body), `X-Forwarded-Proto=["https"]`) {
			t.Errorf("%s: %s %s", name, res.Proto, body)
		}
	}
	if _, err := w.getTLS(trustOne, "plain.test", ""); err == nil {
		t.Error("a host without a certificate must not be served with another's")
	}
	if res, err := w.getTLS(trustOne, "one.test", "two.test"); err != nil || res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host on the connection: %v, %v", res, err)
	}
	if code, _, _ := w.get(w.http, "http://one.test"); code != http.StatusOK {
		t.Errorf("plain HTTP goes on beside TLS: %d", code)
	}

	renewed, trustRenewed := certificate(t, "one", "one.test")
	w.create(secrets.Update(t.Context(), renewed, metav1.UpdateOptions{}))
	w.eventually("the new certificate is used", func() bool {
		_, err := w.getTLS(trustRenewed, "one.test", "")
		return err == nil
	})
	if err := secrets.Delete(t.Context(), "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the status names the missing secret", func() bool {
		c := w.status("x").Status.GetCondition(v1alpha1.IngressConditionReady)
		return c.IsFalse() && strings.Contains(c.Message, "no Secret default/one of type kubernetes.io/tls")
	})
}
