package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

func TestUnused(t *testing.T) {
	a, b, c, layer := digest.FromString("a"), digest.FromString("b"), digest.FromString("c"), digest.FromString("layer")
	cases := map[string]struct {
		all   []revision
		inUse []digest.Digest
		want  []digest.Digest
	}{
		"tagged stays":                     {all: []revision{{digest: a, tagged: true}}},
		"young stays":                      {all: []revision{{digest: a, young: true}}},
		"in use stays":                     {all: []revision{{digest: a}}, inUse: []digest.Digest{a}},
		"else it goes":                     {all: []revision{{digest: a, refs: []digest.Digest{layer}}}, want: []digest.Digest{a}},
		"part of a tagged index stays":     {all: []revision{{digest: a}, {digest: b, tagged: true, refs: []digest.Digest{a}}}},
		"part of a part stays":             {all: []revision{{digest: a}, {digest: b, refs: []digest.Digest{a}}, {digest: c, young: true, refs: []digest.Digest{b}}}},
		"the index of a used part may go":  {all: []revision{{digest: a}, {digest: b, refs: []digest.Digest{a}}}, inUse: []digest.Digest{a}, want: []digest.Digest{b}},
		"a circle that nobody needs goes":  {all: []revision{{digest: a, refs: []digest.Digest{a}}}, want: []digest.Digest{a}},
		"use of what is not there is fine": {inUse: []digest.Digest{c}},
	}
	for reason, tc := range cases {
		t.Run(reason, func(t *testing.T) {
			inUse := map[digest.Digest]bool{}
			for _, d := range tc.inUse {
				inUse[d] = true
			}
			if diff := cmp.Diff(tc.want, unused(tc.all, inUse)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDigestsOf(t *testing.T) {
	d := digest.FromString("x").String()
	for reference, ok := range map[string]bool{
		"app@" + d:                    true,
		"198.18.0.1:5000/ns/app@" + d: true,
		d:                             false,
		"app:latest":                  false,
		"app@sha256:short":            false,
		"":                            false,
	} {
		got, err := digestsOf([]string{reference})
		if (err == nil) != ok || ok && !got[digest.Digest(d)] {
			t.Errorf("%q: %v, %v", reference, got, err)
		}
	}
}
