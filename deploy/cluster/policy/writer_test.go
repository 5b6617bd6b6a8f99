package policy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/knftables"
)

func contentOf(t *testing.T, specs ...string) *content {
	t.Helper()
	s := cluster()
	for _, spec := range specs {
		s.policies = append(s.policies, aPolicy(t, "a/p", spec))
	}
	return render(compute(s, []netip.Addr{nodeAddr}, podRange))
}

const (
	oneSpec   = `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]}`
	otherSpec = `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}], egress: [{}]}`
)

// objects lists what a table has, and what a content asks for.
func objects(t *testing.T, fake *knftables.Fake) []string {
	t.Helper()
	w := &writer{nft: fake}
	there, err := w.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for r := range there {
		out = append(out, string(r.kind)+" "+r.name)
	}
	slices.Sort(out)
	return out
}

func (c *content) names() []string {
	var out []string
	for _, o := range c.objects {
		out = append(out, string(o.kind)+" "+o.name)
	}
	slices.Sort(out)
	return out
}

func TestWriterRemovesOneWriteLater(t *testing.T) {
	fake := knftables.NewFake(knftables.InetFamily, "t")
	w := &writer{nft: fake, name: "t"}
	write := func(c *content) int {
		t.Helper()
		n, err := w.write(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	one, other, none := contentOf(t, oneSpec), contentOf(t, otherSpec), contentOf(t)
	write(one)
	if diff := cmp.Diff(one.names(), objects(t, fake)); diff != "" {
		t.Errorf("after the first write: %s", diff)
	}
	if n := write(contentOf(t, oneSpec)); n != 0 {
		t.Errorf("%d operations for what is already in force", n)
	}
	write(other)
	for _, name := range append(one.names(), other.names()...) {
		if !slices.Contains(objects(t, fake), name) {
			t.Errorf("%s is missing while packets may still be on their way through it", name)
		}
	}
	write(none)
	for _, name := range one.names() {
		if slices.Contains(objects(t, fake), name) && !slices.Contains(append(other.names(), none.names()...), name) {
			t.Errorf("%s is still there", name)
		}
	}
	w.forget()
	write(none)
	if diff := cmp.Diff(none.names(), objects(t, fake)); diff != "" {
		t.Errorf("after the refresh: %s", diff)
	}
}

func TestWriterTakesOverATable(t *testing.T) {
	fake := knftables.NewFake(knftables.InetFamily, "t")
	first := &writer{nft: fake, name: "t"}
	if _, err := first.write(t.Context(), contentOf(t, oneSpec)); err != nil {
		t.Fatal(err)
	}
	other := contentOf(t, otherSpec)
	second := &writer{nft: fake, name: "t"}
	for range 2 {
		if _, err := second.write(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		for _, name := range other.names() {
			if !slices.Contains(objects(t, fake), name) {
				t.Errorf("%s is missing", name)
			}
		}
		second.forget()
	}
	if diff := cmp.Diff(other.names(), objects(t, fake)); diff != "" {
		t.Error(diff)
	}
}

// Someone flushed the ruleset.
func TestWriterPutsRightWhatOthersRemoved(t *testing.T) {
	fake := knftables.NewFake(knftables.InetFamily, "t")
	w := &writer{nft: fake, name: "t"}
	one := contentOf(t, oneSpec)
	if _, err := w.write(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	before := fake.Dump()
	tx := fake.NewTransaction()
	tx.Delete(&knftables.Table{})
	if err := fake.Run(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.write(t.Context(), contentOf(t, otherSpec)); err == nil {
		t.Error("a write that relies on what is gone succeeded")
	}
	if _, err := w.write(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, fake.Dump()); diff != "" {
		t.Error(diff)
	}
}
