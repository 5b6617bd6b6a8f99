package layout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNew(t *testing.T) {
	cases := map[string]struct {
		folder  string
		include []string
		want    Layout
		reason  string
	}{
		"alone":           {folder: "fn", want: Layout{Root: "fn", Function: ".", Parts: []string{"."}}, reason: "a folder without company is its own root"},
		"the tree":        {folder: "", want: Layout{Root: ".", Function: ".", Parts: []string{"."}}},
		"beside":          {folder: "a/fn", include: []string{"a/shared"}, want: Layout{Root: "a", Function: "fn", Parts: []string{"fn", "shared"}}, reason: "the nearest common folder is enough"},
		"above":           {folder: "a/fn", include: []string{"."}, want: Layout{Root: ".", Function: "a/fn", Parts: []string{"."}}, reason: "a module that is rooted above the function"},
		"below":           {folder: "fn", include: []string{"fn/data"}, want: Layout{Root: "fn", Function: ".", Parts: []string{"."}}, reason: "it is there already"},
		"a file":          {folder: "fn", include: []string{"go.mod", "lib/a.go"}, want: Layout{Root: ".", Function: "fn", Parts: []string{"fn", "go.mod", "lib/a.go"}}},
		"twice":           {folder: "fn", include: []string{"lib", "lib/x", "./lib/"}, want: Layout{Root: ".", Function: "fn", Parts: []string{"fn", "lib"}}},
		"alike names":     {folder: "fn", include: []string{"fn2"}, want: Layout{Root: ".", Function: "fn", Parts: []string{"fn", "fn2"}}, reason: "fn2 does not lie in fn"},
		"order is no use": {folder: "fn", include: []string{"z", "b"}, want: Layout{Root: ".", Function: "fn", Parts: []string{"b", "fn", "z"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := New(c.folder, c.include)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestNothingLeavesTheTree(t *testing.T) {
	for _, name := range []string{"..", "../x", "a/../../x", "/etc", "a\\b", "a\x00"} {
		if _, err := New(name, nil); err == nil {
			t.Errorf("the folder %q is taken", name)
		}
		if _, err := New("fn", []string{name}); err == nil {
			t.Errorf("the include %q is taken", name)
		}
	}
}

func TestSelectsAndLeads(t *testing.T) {
	l, err := New("a/fn", []string{"lib/x.go"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]bool{
		".":         {false, true},
		"a":         {false, true},
		"a/fn":      {true, true},
		"a/fn/f.go": {true, false},
		"a/fn2":     {false, false},
		"lib":       {false, true},
		"lib/x.go":  {true, true},
		"lib/y.go":  {false, false},
	} {
		if got := [2]bool{l.Selects(name), l.Leads(name)}; got != want {
			t.Errorf("%s: selects and leads %v, want %v", name, got, want)
		}
	}
}
