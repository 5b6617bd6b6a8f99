package service

import (
	"crypto/tls"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

var testHosts = []string{"knit-service.knit-system.svc"}

func TestRenew(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	first, err := renew(keys{}, testHosts, now)
	if err != nil {
		t.Fatal(err)
	}
	broken := first
	broken.cert = []byte("garbage")
	foreign, err := renew(keys{}, testHosts, now)
	if err != nil {
		t.Fatal(err)
	}
	mixed := first
	mixed.cert, mixed.key = foreign.cert, foreign.key
	cases := map[string]struct {
		old            keys
		hosts          []string
		after          time.Duration
		newCA, newLeaf bool
		reason         string
	}{
		"good":            {old: first, hosts: testHosts},
		"near its end":    {old: first, hosts: testHosts, after: certLife * 3 / 4, newLeaf: true, reason: "the authority stays, so replicas trust each other"},
		"authority's end": {old: first, hosts: testHosts, after: caLife * 3 / 4, newCA: true, newLeaf: true},
		"other host":      {old: first, hosts: []string{"other.knit-system.svc"}, newLeaf: true},
		"broken":          {old: broken, hosts: testHosts, newLeaf: true},
		"other authority": {old: mixed, hosts: testHosts, newLeaf: true},
		"from the future": {old: first, hosts: testHosts, after: -48 * time.Hour, newCA: true, newLeaf: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := renew(c.old, c.hosts, now.Add(c.after))
			if err != nil {
				t.Fatal(err)
			}
			if newCA := string(got.caCert) != string(c.old.caCert); newCA != c.newCA {
				t.Errorf("new authority: %v, want %v: %s", newCA, c.newCA, c.reason)
			}
			if newLeaf := string(got.cert) != string(c.old.cert); newLeaf != c.newLeaf {
				t.Errorf("new certificate: %v, want %v: %s", newLeaf, c.newLeaf, c.reason)
			}
			if _, err := tls.X509KeyPair(got.cert, got.key); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReplicasShareOneCertificate(t *testing.T) {
	kube := fake.NewClientset()
	replicas := make([]*certificate, 8)
	var group sync.WaitGroup
	for i := range replicas {
		replicas[i] = newCertificate(kube, "knit-system", "knit-service")
		group.Go(func() {
			if err := replicas[i].ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, r := range replicas {
		if string(r.ca()) != string(replicas[0].ca()) {
			t.Fatal("replicas have different authorities")
		}
	}
	if _, err := kube.CoreV1().Secrets("knit-system").Get(t.Context(), "knit-service-tls", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}
