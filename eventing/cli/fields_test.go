package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// mailSource is a kind with a field of every type.
func mailSource() kind {
	free := true
	of := func(name string) apiextensionsv1.JSONSchemaProps { return apiextensionsv1.JSONSchemaProps{Type: name} }
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
		"user": of("string"), "port": of("integer"), "ratio": of("number"), "secure": of("boolean"), "folders": of("array"),
		"either": {XIntOrString: true},
		"login":  {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"name": of("string")}},
		"labels": {Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &apiextensionsv1.JSONSchemaProps{Type: "string"}}},
		"free":   {Type: "object", XPreserveUnknownFields: &free},
	}}
	definition := &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com",
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Schema: &apiextensionsv1.CustomResourceValidation{
			OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}},
		}}},
	}}
	return kind{schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "MailSource"}, definition}
}

func TestAFieldTakesTheTypeOfItsDefinition(t *testing.T) {
	cases := map[string]struct {
		set  []string
		want map[string]any
	}{
		"text that looks like a number": {[]string{"user=7"}, map[string]any{"user": "7"}},
		"text that looks like JSON":     {[]string{`user={"a":1}`}, map[string]any{"user": `{"a":1}`}},
		"text with an equals sign":      {[]string{"user=a=b"}, map[string]any{"user": "a=b"}},
		"no text":                       {[]string{"user="}, map[string]any{"user": ""}},
		"a whole number":                {[]string{"port=25"}, map[string]any{"port": int64(25)}},
		"a number":                      {[]string{"ratio=1"}, map[string]any{"ratio": float64(1)}},
		"a truth":                       {[]string{"secure=false"}, map[string]any{"secure": false}},
		"a list":                        {[]string{"folders=[a, 1]"}, map[string]any{"folders": []any{"a", int64(1)}}},
		"a number or text, a number":    {[]string{"either=80"}, map[string]any{"either": int64(80)}},
		"a number or text, text":        {[]string{"either=80%"}, map[string]any{"either": "80%"}},
		"an object":                     {[]string{"login={name: x}"}, map[string]any{"login": map[string]any{"name": "x"}}},
		"a field of an object":          {[]string{"login.name=x"}, map[string]any{"login": map[string]any{"name": "x"}}},
		"fields of a map":               {[]string{"labels.a=1", "labels.b=true"}, map[string]any{"labels": map[string]any{"a": "1", "b": "true"}}},
		"anything, by what it looks":    {[]string{"free.a.b=1", "free.c=x"}, map[string]any{"free": map[string]any{"a": map[string]any{"b": int64(1)}, "c": "x"}}},
		"the last one wins":             {[]string{"port=1", "port=2"}, map[string]any{"port": int64(2)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := map[string]any{}
			for _, assignment := range c.set {
				if err := setField(mailSource(), spec, assignment); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, spec); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.set, diff)
			}
		})
	}
}

func TestAFieldThatDoesNotFitIsNamed(t *testing.T) {
	cases := map[string]struct{ set, want string }{
		"no value":              {"port", `"port" is not path=value`},
		"no path":               {"=1", `"=1" is not path=value`},
		"an unknown field":      {"prot=1", `has no field "prot" there; it has either, folders, free, labels, login, port, ratio, secure, user`},
		"an unknown inner one":  {"login.nmae=x", `--set login.nmae: the spec of MailSource has no field "nmae" there; it has name`},
		"below a text":          {"user.a=1", `has no fields there, so not "a" either`},
		"below a list":          {"folders.0=a", "has a list there"},
		"below what was set":    {"free.x.y=1", "free.x is no object"},
		"an empty step":         {"login..name=1", `has no field ""`},
		"no whole number":       {"port=2.5", `"2.5" is no integer`},
		"no number":             {"ratio=much", `"much" is no number`},
		"no truth":              {"secure=maybe", `"maybe" is no boolean`},
		"no list":               {"folders=a", `"a" is no list`},
		"no object":             {"login=x", `"x" is no object`},
		"no YAML":               {"folders=[", `"[" is no YAML`},
		"one name twice, in it": {"login={name: a, name: b}", "is no YAML"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := setField(mailSource(), map[string]any{"free": map[string]any{"x": "text"}}, c.set)
			if cmdline.Code(err) != cmdline.ExitUsage || !strings.Contains(err.Error(), c.want) {
				t.Errorf("--set %s: %v, want a usage error with %q in it", c.set, err, c.want)
			}
		})
	}
}
