package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// manifestName is the file that makes a folder a project.
const manifestName = "knit.yaml"

// maxManifest is the largest manifest in bytes.
const maxManifest = 4 << 20

// document is one object of a manifest: as it was written, which is what is
// applied, and typed, which is what is checked.
type document struct {
	number   int // from 1
	written  *unstructured.Unstructured
	function *v1alpha1.Function // nil for a schedule
	schedule *v1alpha1.Schedule // nil for a function
}

// title names the document in messages.
func (d document) title() string {
	return fmt.Sprintf("%s %s", strings.ToLower(d.written.GetKind()), d.written.GetName())
}

// object is the typed object.
func (d document) object() client.Object {
	if d.function != nil {
		return d.function
	}
	return d.schedule
}

// manifest is a knit.yaml.
type manifest struct {
	file      string
	documents []document
}

// functions are the documents that hold a function.
func (m *manifest) functions() []document {
	return slices.DeleteFunc(slices.Clone(m.documents), func(d document) bool { return d.function == nil })
}

// readManifest reads the knit.yaml of a folder, or the named file, and checks
// all that can be checked without a cluster. Every mistake is reported, not
// only the first.
func readManifest(at, namespace string, namespaceGiven bool) (*manifest, error) {
	file, err := findManifest(at)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the manifest: %w", err))
	}
	if len(raw) > maxManifest {
		return nil, cmdline.Usagef("%s has %s, more than the limit of %s", file, cmdline.Bytes(int64(len(raw))), cmdline.Bytes(maxManifest))
	}
	m, mistakes := parse(file, raw)
	for _, d := range m.documents {
		mistakes = append(mistakes, d.place(file, namespace, namespaceGiven)...)
		mistakes = append(mistakes, d.check(file)...)
	}
	mistakes = append(mistakes, twice(m)...)
	if len(m.documents) == 0 && len(mistakes) == 0 {
		mistakes = append(mistakes, fmt.Errorf("%s: holds no object; it needs at least one Function", file))
	}
	if len(mistakes) > 0 {
		return nil, cmdline.Advise(cmdline.Usage(errors.Join(mistakes...)), "correct %s; `kubectl explain function.spec` tells every field", file)
	}
	return m, nil
}

// findManifest returns the file for an argument that is a folder or a file.
func findManifest(at string) (string, error) {
	info, err := os.Stat(at)
	if err != nil {
		return "", cmdline.Usage(err)
	}
	if !info.IsDir() {
		return at, nil
	}
	file := filepath.Join(at, manifestName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", cmdline.Advise(cmdline.Usagef("folder %s has no %s", at, manifestName), "name a folder that has one, such as samples/hello, or write one")
	}
	return file, nil
}

// parse reads the documents of a manifest. Unknown fields and doubled keys
// are mistakes: a misspelt field must not be dropped in silence.
func parse(file string, raw []byte) (*manifest, []error) {
	scheme := newScheme()
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	m := &manifest{file: file}
	var mistakes []error
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for number := 1; ; number++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return m, mistakes
		}
		if err != nil {
			return m, append(mistakes, fmt.Errorf("%s: document %d: %w", file, number, err))
		}
		if blank(text) {
			number--
			continue
		}
		d, err := parseDocument(decoder, text)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: document %d: %w", file, number, err))
			continue
		}
		d.number = number
		m.documents = append(m.documents, d)
	}
}

func parseDocument(decoder runtime.Decoder, text []byte) (document, error) {
	json, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return document{}, fmt.Errorf("no valid YAML: %s", plain(err))
	}
	d := document{written: &unstructured.Unstructured{}}
	if err := utiljson.Unmarshal(json, &d.written.Object); err != nil {
		return document{}, fmt.Errorf("no object: %s", plain(err))
	}
	kind := d.written.GroupVersionKind()
	if kind.GroupVersion() != v1alpha1.GroupVersion || kind.Kind != v1alpha1.KindFunction && kind.Kind != v1alpha1.KindSchedule {
		return document{}, fmt.Errorf("apiVersion %q, kind %q is none of Knit's: use apiVersion %s with kind %s or %s",
			d.written.GetAPIVersion(), d.written.GetKind(), v1alpha1.GroupVersion, v1alpha1.KindFunction, v1alpha1.KindSchedule)
	}
	object, _, err := decoder.Decode(json, nil, nil)
	if err != nil {
		return document{}, fmt.Errorf("%s: %s", d.title(), plain(err))
	}
	switch typed := object.(type) {
	case *v1alpha1.Function:
		d.function = typed
	case *v1alpha1.Schedule:
		d.schedule = typed
	}
	return d, nil
}

// place settles the namespace of a document.
func (d document) place(file, namespace string, given bool) []error {
	own := d.written.GetNamespace()
	if own != "" && given && own != namespace {
		return []error{d.mistake(file, field.Invalid(field.NewPath("metadata", "namespace"), own, "--namespace says "+namespace+": leave one of the two out"))}
	}
	if own == "" {
		d.written.SetNamespace(namespace)
		d.object().SetNamespace(namespace)
	}
	return nil
}

// check finds what is wrong with a document by itself.
func (d document) check(file string) []error {
	var errs field.ErrorList
	if d.written.GetName() == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "name"), "every object needs a name"))
	}
	if d.schedule != nil {
		errs = append(errs, d.schedule.Validate()...)
	}
	if d.function != nil {
		errs = append(errs, checkSource(filepath.Dir(file), d.function.Spec.Source)...)
		errs = append(errs, d.function.Validate()...)
	}
	mistakes := make([]error, 0, len(errs))
	for _, err := range errs {
		mistakes = append(mistakes, d.mistake(file, err))
	}
	return mistakes
}

// checkSource wants one source, and for a folder that it exists.
func checkSource(dir string, source v1alpha1.Source) field.ErrorList {
	at := field.NewPath("spec", "source")
	switch {
	case source.Image != "" && (source.Path != "" || source.Archive != nil):
		return field.ErrorList{field.Invalid(at, "image", "set path, to build a folder, or image, to run one that exists; not both")}
	case source.Image != "" || source.Archive != nil && source.Path == "":
		return nil
	case source.Archive != nil:
		return field.ErrorList{field.Invalid(at.Child("archive"), source.Archive.Digest, "knit deploy fills it in from path: leave one of the two out")}
	case source.Path == "":
		return field.ErrorList{field.Required(at, "set path to the folder with the code, e.g. `path: .`, or image")}
	case filepath.IsAbs(source.Path):
		return field.ErrorList{field.Invalid(at.Child("path"), source.Path, "must be relative to the manifest")}
	}
	info, err := os.Stat(filepath.Join(dir, source.Path))
	if err != nil || !info.IsDir() {
		return field.ErrorList{field.Invalid(at.Child("path"), source.Path, "no such folder beside the manifest")}
	}
	return nil
}

// twice finds objects that stand in a manifest more than once.
func twice(m *manifest) []error {
	seen := map[string]int{}
	var mistakes []error
	for _, d := range m.documents {
		key := d.title() + "/" + d.written.GetNamespace()
		if first := seen[key]; first != 0 && d.written.GetName() != "" {
			mistakes = append(mistakes, fmt.Errorf("%s: document %d: %s stands in document %d already", m.file, d.number, d.title(), first))
			continue
		}
		seen[key] = d.number
	}
	return mistakes
}

func (d document) mistake(file string, err error) error {
	return fmt.Errorf("%s: document %d: %s: %w", file, d.number, d.title(), err)
}

// blank tells that a document holds only comments and space.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && string(line) != "---" {
			return false
		}
	}
	return true
}

// plain drops the names of Go's decoders from an error that users read.
func plain(err error) string {
	return strings.NewReplacer("error converting YAML to JSON: ", "", "strict decoding error: ", "", "json: ", "", "yaml: ", "", "Go struct field ", "", ":\n ", ":", "\n ", ";").Replace(err.Error())
}
