package v1alpha1_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// schema is the generated schema of one kind, checked by the same code that the
// API server runs.
type schema struct {
	props      *apiextensions.JSONSchemaProps
	structural *structural.Structural
}

func load(t *testing.T, plural string) (schema, *apiextensions.CustomResourceDefinition) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "manifests", "crds", "knit.dev_"+plural+".yaml"))
	if err != nil {
		t.Fatalf("read the generated CRD (run `go generate ./functions/api/...`): %v", err)
	}
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(raw, &v1); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&v1)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&v1.Spec)
	var crd apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, &crd, nil); err != nil {
		t.Fatal(err)
	}
	props := crd.Spec.Validation
	if props == nil {
		props = crd.Spec.Versions[0].Schema
	}
	s, err := structural.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	return schema{props: props.OpenAPIV3Schema, structural: s}, &crd
}

// validate answers what the API server would, for a create or an update.
func (s schema) validate(t *testing.T, obj, old map[string]any) field.ErrorList {
	t.Helper()
	validator, _, err := apivalidation.NewSchemaValidator(s.props)
	if err != nil {
		t.Fatal(err)
	}
	errs := apivalidation.ValidateCustomResource(nil, obj, validator)
	rules := cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	var before any
	if old != nil {
		before = old
	}
	celErrs, _ := rules.Validate(context.Background(), nil, s.structural, obj, before, celconfig.RuntimeCELCostBudget)
	return append(errs, celErrs...)
}

func TestCRDsAreAcceptedByAnAPIServer(t *testing.T) {
	for _, plural := range []string{"functions", "builds", "schedules"} {
		t.Run(plural, func(t *testing.T) {
			_, crd := load(t, plural)
			crd.Status.StoredVersions = []string{"v1alpha1"}
			if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd); len(errs) > 0 {
				t.Errorf("the API server would refuse the CRD: %v", errs.ToAggregate())
			}
		})
	}
}

func object(t *testing.T, kind, name, body string) map[string]any {
	t.Helper()
	var obj map[string]any
	text := "apiVersion: knit.dev/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\n" + body
	if err := yaml.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return obj
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestSchema(t *testing.T) {
	archive := "spec: {source: {archive: {digest: '" + digest + "'}}}"
	cases := map[string]struct {
		kind, name, body string
		// refused is part of the message; empty means accepted.
		refused string
		reason  string
	}{
		"smallest function":     {kind: "Function", name: "hello", body: archive, reason: "everything but the source has a default"},
		"image by tag":          {kind: "Function", name: "hello", body: "spec: {source: {image: 'ghcr.io/a/b:v1'}}", reason: "no build is needed"},
		"no source":             {kind: "Function", name: "hello", body: "spec: {source: {path: .}}", refused: "exactly one of source.archive", reason: "nothing to run"},
		"two sources":           {kind: "Function", name: "hello", body: "spec: {source: {image: a, archive: {digest: '" + digest + "'}}}", refused: "exactly one of source.archive", reason: "ambiguous"},
		"short digest":          {kind: "Function", name: "hello", body: "spec: {source: {archive: {digest: 'sha256:ab'}}}", refused: "should match", reason: "a digest is a whole one"},
		"long name":             {kind: "Function", name: strings.Repeat("a", 51), body: archive, refused: "host name", reason: "revisions add to the name"},
		"name with dot":         {kind: "Function", name: "a.b", body: archive, refused: "host name", reason: "it is one label of a host name"},
		"git":                   {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'https://github.com/a/b', revision: v1.2/x, path: fn, submodules: true}, include: [shared]}}"},
		"git by ssh":            {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'git@github.com:a/b.git', secretName: key}}}"},
		"git and image":         {kind: "Function", name: "hello", body: "spec: {source: {image: a, git: {url: 'https://github.com/a/b'}}}", refused: "exactly one of source.archive", reason: "ambiguous"},
		"git and path":          {kind: "Function", name: "hello", body: "spec: {source: {path: fn, git: {url: 'https://github.com/a/b'}}}", refused: "source.git.path", reason: "the folder is in the repository"},
		"include and image":     {kind: "Function", name: "hello", body: "spec: {source: {image: a, include: [x]}}", refused: "no use", reason: "nothing is packed"},
		"git file":              {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'file:///etc'}}}", refused: "git.url is one of", reason: "a build has no files of anybody"},
		"git http":              {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'http://github.com/a/b'}}}", refused: "git.url is one of", reason: "anybody on the way could change the code"},
		"git helper":            {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'ext::sh -c id'}}}", refused: "git.url is one of", reason: "it would run a program"},
		"git password":          {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'https://a:b@github.com/a/b'}}}", refused: "git.url is one of", reason: "everybody who may read the Function would read it"},
		"git option":            {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'git@-oProxyCommand=id:x'}}}", refused: "git.url is one of", reason: "ssh would take it for an option"},
		"git revision option":   {kind: "Function", name: "hello", body: "spec: {source: {git: {url: 'https://github.com/a/b', revision: '--upload-pack=id'}}}", refused: "should match", reason: "git would take it for an option"},
		"unknown language":      {kind: "Function", name: "hello", body: "spec: {language: cobol, source: {image: a}}", refused: "Unsupported value", reason: "no runtime for it"},
		"timeout of days":       {kind: "Function", name: "hello", body: "spec: {timeout: 3d, source: {image: a}}", refused: "should match", reason: "it would not decode as a duration"},
		"timeout overflow":      {kind: "Function", name: "hello", body: "spec: {timeout: 9999999999h, source: {image: a}}", refused: "should match", reason: "it would not decode as a duration"},
		"timeout of nothing":    {kind: "Function", name: "hello", body: "spec: {timeout: 10ms, source: {image: a}}", refused: "between 1s and 24h", reason: "Knative counts in seconds"},
		"timeout too long":      {kind: "Function", name: "hello", body: "spec: {timeout: 20h5h, source: {image: a}}", refused: "between 1s and 24h", reason: "no request takes a day"},
		"start too long":        {kind: "Function", name: "hello", body: "spec: {startTimeout: 61m, source: {image: a}}", refused: "between 1s and 1h", reason: "a person waits for it"},
		"start":                 {kind: "Function", name: "hello", body: "spec: {startTimeout: 3m, timeout: 1h30m, scale: {idleAfter: 1h}, source: {image: a}}"},
		"idle too long":         {kind: "Function", name: "hello", body: "spec: {scale: {idleAfter: 2h}, source: {image: a}}", refused: "at most 1h", reason: "Knative's limit"},
		"min above max":         {kind: "Function", name: "hello", body: "spec: {scale: {min: 3, max: 2}, source: {image: a}}", refused: "more than scale.max", reason: "cannot hold"},
		"rps without target":    {kind: "Function", name: "hello", body: "spec: {scale: {metric: rps}, source: {image: a}}", refused: "needs scale.target", reason: "Knative would take 200, which nobody chose"},
		"nested filters":        {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{filters: [{any: [{all: [{exact: {type: a}}, {prefix: {source: b}}]}, {not: {cesql: 'true'}}]}]}]}", reason: "three deep"},
		"two dialects":          {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{filters: [{exact: {type: a}, prefix: {type: b}}]}]}", refused: "exactly one of all", reason: "Knative refuses it later"},
		"filter is a string":    {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{filters: [{exact: a}]}]}", refused: "must be of type object", reason: "it would break every reader's list"},
		"channel":               {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{channel: orders, reply: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}, delivery: {timeout: PT3S}}]}"},
		"any source":            {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{source: {apiVersion: sources.knative.dev/v1, kind: PingSource, spec: {schedule: '* * * * *', unknown: [1]}}, delivery: {retry: 3}}]}", reason: "its spec is checked by its own kind"},
		"source without spec":   {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{source: {apiVersion: a.example/v1, kind: Own}}]}"},
		"source, odd spec":      {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{source: {apiVersion: a.example/v1, kind: Own, spec: [1]}}]}", refused: "must be of type object", reason: "a spec is an object"},
		"source of the core":    {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{source: {apiVersion: v1, kind: Pod}}]}", refused: "should match", reason: "no source is built into Kubernetes"},
		"broker and channel":    {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{broker: a, channel: b}]}", refused: "at most one of broker, channel and source", reason: "ambiguous"},
		"filtered channel":      {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{channel: a, filters: [{exact: {type: b}}]}]}", refused: "only a broker filters", reason: "Knative's channels do not"},
		"reply of a broker":     {kind: "Function", name: "hello", body: "spec: {source: {image: a}, events: [{broker: a, reply: {uri: 'http://a.example'}}]}", refused: "goes back to that broker", reason: "Knative's Triggers have no other"},
		"build env from secret": {kind: "Function", name: "hello", body: "spec: {source: {image: a}, build: {env: [{name: '1', value: b}]}}", refused: "should match", reason: "no such variable"},

		"build":              {kind: "Build", name: "b", body: "spec: {function: hello, source: {archive: {digest: '" + digest + "'}}}"},
		"build without name": {kind: "Build", name: "b", body: "spec: {source: {archive: {digest: '" + digest + "'}}}", refused: "Required", reason: "the image needs a name"},
		"build from git":     {kind: "Build", name: "b", body: "spec: {function: hello, source: {git: {url: 'https://github.com/a/b'}}}"},
		"build, no source":   {kind: "Build", name: "b", body: "spec: {function: hello, source: {}}", refused: "exactly one of source.archive and source.git", reason: "nothing to build"},
		"build, two sources": {kind: "Build", name: "b", body: "spec: {function: hello, source: {archive: {digest: '" + digest + "'}, git: {url: 'https://github.com/a/b'}}}", refused: "exactly one of source.archive and source.git", reason: "ambiguous"},
		"build repository":   {kind: "Build", name: "b", body: "spec: {function: ../other/fn, source: {archive: {digest: '" + digest + "'}}}", refused: "should match", reason: "nobody writes over another's image"},

		"schedule":              {kind: "Schedule", name: "s", body: "spec: {cron: ['*/5 * * * MON-FRI', '@daily'], timeZone: America/Argentina/Buenos_Aires, sink: {ref: {apiVersion: knit.dev/v1alpha1, kind: Function, name: hello}}}"},
		"schedule any data":     {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], event: {data: [1, {a: null}, x]}, sink: {uri: 'http://a.example/x'}}", reason: "data is any JSON"},
		"schedule string data":  {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], event: {data: plain}, sink: {uri: 'https://a.example'}}", reason: "data is any JSON"},
		"schedule TZ":           {kind: "Schedule", name: "s", body: "spec: {cron: ['TZ=UTC'], sink: {uri: 'http://a'}}", refused: "should match", reason: "it makes robfig/cron panic"},
		"schedule no cron":      {kind: "Schedule", name: "s", body: "spec: {cron: [], sink: {uri: 'http://a'}}", refused: "at least 1", reason: "never"},
		"schedule nothing":      {kind: "Schedule", name: "s", body: "spec: {sink: {uri: 'http://a'}}", refused: "set cron, at, or both", reason: "never"},
		"schedule seconds":      {kind: "Schedule", name: "s", body: "spec: {cron: ['*/5 * * * * *', '@every 1h30m'], sink: {uri: 'http://a'}}"},
		"schedule once":         {kind: "Schedule", name: "s", body: "spec: {at: ['2026-03-01T08:00:00Z'], overlap: AllowAll, jitter: 5m, sink: {uri: 'http://a'}}"},
		"schedule 400 fields":   {kind: "Schedule", name: "s", body: "spec: {cron: ['" + strings.Repeat("* ", 400) + "*'], sink: {uri: 'http://a'}}", refused: "may not be more than 128", reason: "it goes on and on"},
		"schedule every ms":     {kind: "Schedule", name: "s", body: "spec: {cron: ['@every 10ms'], sink: {uri: 'http://a'}}", refused: "should match", reason: "a flood"},
		"schedule overlap":      {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], overlap: Sometimes, sink: {uri: 'http://a'}}", refused: "supported values", reason: "no such policy"},
		"schedule at":           {kind: "Schedule", name: "s", body: "spec: {at: [tomorrow], sink: {uri: 'http://a'}}", refused: "date-time", reason: "it would break every reader's list"},
		"schedule request":      {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], requests: [{name: a, at: '2026-03-01T08:00:00Z'}, {name: b, from: '2026-03-01T08:00:00Z', to: '2026-03-02T08:00:00Z'}], sink: {uri: 'http://a'}}"},
		"schedule request open": {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], requests: [{name: b, from: '2026-03-01T08:00:00Z'}], sink: {uri: 'http://a'}}", refused: "from and to belong together", reason: "until when"},
		"schedule request both": {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], requests: [{name: b, at: '2026-03-01T08:00:00Z', from: '2026-03-01T08:00:00Z', to: '2026-03-01T08:00:00Z'}], sink: {uri: 'http://a'}}", refused: "either at, or from and to", reason: "ambiguous"},
		"schedule request name": {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], requests: [{name: 'a b', at: '2026-03-01T08:00:00Z'}], sink: {uri: 'http://a'}}", refused: "should match", reason: "it is part of an id"},
		"schedule no sink":      {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], sink: {}}", refused: "exactly one of ref and uri", reason: "nowhere"},
		"schedule file uri":     {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], sink: {uri: 'file:///etc/passwd'}}", refused: "absolute http", reason: "events go by HTTP"},
		"schedule relative uri": {kind: "Schedule", name: "s", body: "spec: {cron: ['@daily'], sink: {uri: '/x'}}", refused: "absolute http", reason: "relative to nothing"},
	}
	schemas := map[string]schema{}
	for kind, plural := range map[string]string{"Function": "functions", "Build": "builds", "Schedule": "schedules"} {
		schemas[kind], _ = load(t, plural)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			errs := schemas[c.kind].validate(t, object(t, c.kind, c.name, c.body), nil)
			switch {
			case c.refused == "" && len(errs) > 0:
				t.Errorf("refused (%s): %v", c.reason, errs)
			case c.refused != "" && len(errs) == 0:
				t.Errorf("accepted, should be refused: %s", c.reason)
			case c.refused != "" && !strings.Contains(errs.ToAggregate().Error(), c.refused):
				t.Errorf("refused with %v, want %q", errs, c.refused)
			}
		})
	}
}

func TestABuildNeverChanges(t *testing.T) {
	s, _ := load(t, "builds")
	body := "spec: {function: hello, source: {archive: {digest: '" + digest + "'}}, tag: "
	old, same, other := object(t, "Build", "b", body+"a}"), object(t, "Build", "b", body+"a}"), object(t, "Build", "b", body+"b}")
	if errs := s.validate(t, same, old); len(errs) > 0 {
		t.Errorf("an equal spec is refused: %v", errs)
	}
	if errs := s.validate(t, other, old); len(errs) == 0 {
		t.Error("a changed spec is accepted")
	}
}

// Whatever the schema lets pass must decode, or one object stops a controller's
// list for everybody.
func TestWhatIsAcceptedDecodes(t *testing.T) {
	s, _ := load(t, "functions")
	for _, timeout := range []string{"99999h99999h99999h99999h", "0s", "00001ms"} {
		obj := object(t, "Function", "hello", "spec: {timeout: "+timeout+", source: {image: a}}")
		if errs := s.validate(t, obj, nil); len(errs) > 0 {
			continue
		}
		raw, err := yaml.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		var f v1alpha1.Function
		if err := yaml.Unmarshal(raw, &f); err != nil {
			t.Errorf("timeout %q is accepted but does not decode: %v", timeout, err)
		}
	}
}
