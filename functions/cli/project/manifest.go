package project

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// FileName is the file that makes a folder a project.
const FileName = "knit.yaml"

// maxManifest is the largest manifest in bytes.
const maxManifest = 4 << 20

// Document is one object of a manifest: as it was written, which is what is
// applied, and typed, which is what is checked.
type Document struct {
	Number  int // from 1
	Written *unstructured.Unstructured
	// One of these is set.
	Function *v1alpha1.Function
	Schedule *v1alpha1.Schedule
	Knative  client.Object // a Broker, Trigger, Channel, Subscription, Sequence or Parallel

	text text
}

// At is where in a file a message about the document belongs, as an editor
// takes it: file, line and number of the document. The message comes back as it
// should follow.
func (d Document) At(file, message string) string {
	line, message := d.text.line(message)
	return fmt.Sprintf("%s:%d: document %d: %s", file, line, d.Number, message)
}

// Title names the document in messages.
func (d Document) Title() string {
	return fmt.Sprintf("%s %s", strings.ToLower(d.Written.GetKind()), d.Written.GetName())
}

// Object is the typed object.
func (d Document) Object() client.Object {
	switch {
	case d.Function != nil:
		return d.Function
	case d.Schedule != nil:
		return d.Schedule
	}
	return d.Knative
}

// Manifest is a knit.yaml.
type Manifest struct {
	File      string
	Documents []Document
}

// Functions are the documents that hold a function.
func (m *Manifest) Functions() []Document {
	return slices.DeleteFunc(slices.Clone(m.Documents), func(d Document) bool { return d.Function == nil })
}

// Read reads the knit.yaml of a folder, or the named file, and checks
// all that can be checked without a cluster. Every mistake is reported, not
// only the first.
func Read(at, namespace string, namespaceGiven bool) (*Manifest, error) {
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
	for _, d := range m.Documents {
		mistakes = append(mistakes, d.place(file, namespace, namespaceGiven)...)
		mistakes = append(mistakes, d.check(file)...)
	}
	mistakes = append(mistakes, twice(m)...)
	if len(m.Documents) == 0 && len(mistakes) == 0 {
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
	file := filepath.Join(at, FileName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", cmdline.Advise(cmdline.Usagef("folder %s has no %s", at, FileName), "name a folder that has one, such as samples/hello, or write one")
	}
	return file, nil
}

// parse reads the documents of a manifest. Unknown fields and doubled keys
// are mistakes: a misspelt field must not be dropped in silence.
func parse(file string, raw []byte) (*Manifest, []error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(AddToScheme(scheme))
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	m := &Manifest{File: file}
	var mistakes []error
	for i, t := range split(raw) {
		d, err := parseDocument(decoder, t.raw)
		d.Number, d.text = i+1, t
		if err != nil {
			mistakes = append(mistakes, errors.New(d.At(file, err.Error())))
			continue
		}
		m.Documents = append(m.Documents, d)
	}
	return m, mistakes
}

func parseDocument(decoder runtime.Decoder, text []byte) (Document, error) {
	json, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return Document{}, fmt.Errorf("no valid YAML: %s", plain(err))
	}
	d := Document{Written: &unstructured.Unstructured{}}
	if err := utiljson.Unmarshal(json, &d.Written.Object); err != nil {
		return Document{}, fmt.Errorf("no object: %s", plain(err))
	}
	if !slices.Contains(kinds, d.Written.GroupVersionKind()) {
		return Document{}, fmt.Errorf("apiVersion %q, kind %q does not belong here; a %s holds: %s", d.Written.GetAPIVersion(), d.Written.GetKind(), FileName, kindsText())
	}
	object, _, err := decoder.Decode(json, nil, nil)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %s", d.Title(), plain(err))
	}
	switch typed := object.(type) {
	case *v1alpha1.Function:
		d.Function = typed
	case *v1alpha1.Schedule:
		d.Schedule = typed
	case client.Object:
		d.Knative = typed
	}
	return d, nil
}

// place settles the namespace of a document.
func (d Document) place(file, namespace string, given bool) []error {
	own := d.Written.GetNamespace()
	if own != "" && given && own != namespace {
		return []error{d.mistake(file, field.Invalid(field.NewPath("metadata", "namespace"), own, "--namespace says "+namespace+": leave one of the two out"))}
	}
	if own == "" {
		d.Written.SetNamespace(namespace)
		d.Object().SetNamespace(namespace)
	}
	return nil
}

// check finds what is wrong with a document by itself.
func (d Document) check(file string) []error {
	var errs field.ErrorList
	if d.Written.GetName() == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "name"), "every object needs a name"))
	}
	if d.Schedule != nil {
		errs = append(errs, d.Schedule.Validate()...)
	}
	if d.Function != nil {
		errs = append(errs, checkSource(filepath.Dir(file), d.Function.Spec.Source)...)
		errs = append(errs, d.Function.Validate()...)
	}
	mistakes := make([]error, 0, len(errs))
	for _, err := range errs {
		mistakes = append(mistakes, d.mistake(file, err))
	}
	return mistakes
}

// checkSource wants one source, and for a folder that it and what it includes
// exist.
func checkSource(dir string, source v1alpha1.Source) field.ErrorList {
	at := field.NewPath("spec", "source")
	given := 0
	for _, is := range []bool{source.Image != "", source.Git != nil, source.Archive != nil, source.Path != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return field.ErrorList{field.Required(at, "set path to the folder with the code, e.g. `path: .`, or git, or image")}
	case source.Archive != nil && source.Path != "":
		return field.ErrorList{field.Invalid(at.Child("archive"), source.Archive.Digest, "knit deploy fills it in from path: leave one of the two out")}
	case source.Git != nil && source.Path != "":
		return field.ErrorList{field.Invalid(at.Child("path"), source.Path, "with git, the folder in the repository is git.path")}
	case given > 1:
		return field.ErrorList{field.Invalid(at, "several", "set one of path, to build a folder, git, to build from a repository, and image, to run one that exists")}
	case source.Path == "":
		return nil
	case filepath.IsAbs(source.Path):
		return field.ErrorList{field.Invalid(at.Child("path"), source.Path, "must be relative to the manifest")}
	}
	info, err := os.Stat(filepath.Join(dir, source.Path))
	if err != nil || !info.IsDir() {
		return field.ErrorList{field.Invalid(at.Child("path"), source.Path, "no such folder beside the manifest")}
	}
	return checkInclude(dir, at.Child("include"), source.Include)
}

func checkInclude(dir string, at *field.Path, include []string) field.ErrorList {
	var errs field.ErrorList
	for i, name := range include {
		if filepath.IsAbs(name) {
			errs = append(errs, field.Invalid(at.Index(i), name, "must be relative to the manifest"))
		} else if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			errs = append(errs, field.Invalid(at.Index(i), name, "no such folder or file; it is relative to the manifest"))
		}
	}
	return errs
}

// twice finds objects that stand in a manifest more than once.
func twice(m *Manifest) []error {
	seen := map[string]int{}
	var mistakes []error
	for _, d := range m.Documents {
		key := d.Title() + "/" + d.Written.GetNamespace()
		if first := seen[key]; first != 0 && d.Written.GetName() != "" {
			mistakes = append(mistakes, errors.New(d.At(m.File, fmt.Sprintf("%s stands in document %d already", d.Title(), first))))
			continue
		}
		seen[key] = d.Number
	}
	return mistakes
}

func (d Document) mistake(file string, err error) error {
	return errors.New(d.At(file, d.Title()+": "+err.Error()))
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

// wrongType is how encoding/json says it, with the name of a Go type.
var wrongType = regexp.MustCompile(`cannot unmarshal (\w+)(?: [^ ]+)? into (?:Go struct field )?\w+\.(\S+) of type (\S+)`)

// plain drops the names of Go's decoders from an error that users read.
func plain(err error) string {
	text := strings.NewReplacer("error converting YAML to JSON: ", "", "strict decoding error: ", "", "json: ", "", "yaml: ", "", ":\n ", ":", "\n ", ";").Replace(err.Error())
	return wrongType.ReplaceAllString(text, "$2: must be of type $3, not $1")
}
