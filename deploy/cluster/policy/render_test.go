package policy

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/knftables"
)

var update = flag.Bool("update", false, "write the golden files")

func TestRenderedTable(t *testing.T) {
	s := cluster()
	s.policies = []*networkingv1.NetworkPolicy{
		aPolicy(t, "a/default-deny", `{podSelector: {}, policyTypes: [Ingress, Egress]}`),
		aPolicy(t, "a/web", `
podSelector: {matchLabels: {app: web}}
ingress:
- from: [{namespaceSelector: {matchLabels: {team: b}}}, {ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26]}}]
  ports: [{port: http}, {port: 8443, endPort: 8450}, {port: 80}, {protocol: UDP}, {protocol: SCTP, port: 7}]
egress:
- to: [{podSelector: {matchLabels: {app: db}}}]
- ports: [{port: 443}]
`),
		aPolicy(t, "b/open", `{podSelector: {matchLabels: {app: cli}}, ingress: [{}]}`),
	}
	fake := knftables.NewFake(knftables.InetFamily, "knit-policy")
	w := &writer{nft: fake, name: "knit-policy"}
	if _, err := w.write(t.Context(), render(compute(s, []netip.Addr{nodeAddr}, podRange))); err != nil {
		t.Fatal(err)
	}
	got, golden := fake.Dump(), filepath.Join("testdata", "table.nft")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestEqualSnapshotsRenderEqually(t *testing.T) {
	id := func() string {
		s := cluster()
		for _, object := range []string{"a/p", "a/q", "b/p", "c/p"} {
			s.policies = append(s.policies, aPolicy(t, object, `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: http}]}]}`))
		}
		return render(compute(s, []netip.Addr{nodeAddr}, podRange)).id()
	}
	first := id()
	for range 20 {
		if diff := cmp.Diff(first, id()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func operations(t *testing.T, rs ruleset) int {
	t.Helper()
	w := &writer{nft: knftables.NewFake(knftables.InetFamily, "t")}
	n, err := w.write(t.Context(), render(rs))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
