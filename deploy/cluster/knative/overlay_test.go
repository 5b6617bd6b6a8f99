package knative

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, doc string) unstructured.Unstructured {
	t.Helper()
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const configMap = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n}, data: {x: '1', w: '2'}}"

func TestOverlay(t *testing.T) {
	base := []unstructured.Unstructured{object(t, configMap)}
	for reason, in := range map[string]struct {
		overlay overlay
		want    []string // data of what remains
		err     string
	}{
		"nothing": {overlay{}, []string{"map[w:2 x:1]"}, ""},
		"merge": {overlay{Patches: []unstructured.Unstructured{
			object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n}, data: {x: '3', w: null}}"),
		}}, []string{"map[x:3]"}, ""},
		"delete": {overlay{Patches: []unstructured.Unstructured{
			object(t, "{$patch: delete, apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n}}"),
		}}, nil, ""},
		"add": {overlay{Objects: []unstructured.Unstructured{
			object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: n}, data: {z: '1'}}"),
		}}, []string{"map[w:2 x:1]", "map[z:1]"}, ""},
		"patch of nothing": {overlay{Patches: []unstructured.Unstructured{
			object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: gone, namespace: n}}"),
		}}, nil, "was it renamed"},
		"two patches": {overlay{Patches: []unstructured.Unstructured{object(t, configMap), object(t, configMap)}}, nil, "patched twice"},
		"two objects": {overlay{Objects: []unstructured.Unstructured{object(t, configMap)}}, nil, "exists twice"},
	} {
		out, err := in.overlay.apply(base)
		if in.err != "" {
			if err == nil || !strings.Contains(err.Error(), in.err) {
				t.Errorf("%s: error %v, want %q", reason, err, in.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		var got []string
		for _, o := range out {
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			got = append(got, fmt.Sprint(data))
		}
		if diff := cmp.Diff(in.want, got); diff != "" {
			t.Errorf("%s: %s", reason, diff)
		}
	}
}
