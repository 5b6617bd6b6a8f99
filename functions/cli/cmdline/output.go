package cmdline

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"
)

// Format is a value of --output. The empty format is for people.
type Format string

// The formats. Wide is the table with more columns.
const (
	Text Format = ""
	JSON Format = "json"
	YAML Format = "yaml"
	Name Format = "name"
	Wide Format = "wide"
)

var formats = []string{string(JSON), string(YAML), string(Name), string(Wide)}

// String is the value as a flag shows it.
func (f *Format) String() string { return string(*f) }

// Type names the value in help.
func (f *Format) Type() string { return strings.Join(formats, "|") }

// Set takes the value of a flag.
func (f *Format) Set(value string) error {
	if !slices.Contains(formats, value) {
		return fmt.Errorf("%q is none of %s", value, strings.Join(formats, ", "))
	}
	*f = Format(value)
	return nil
}

// AddOutput declares --output on cmd.
func (f *Format) AddOutput(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "output format")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// Table is what a list shows to people. WideFrom is the first column that
// only the wide format shows; 0 means that every column is always shown.
type Table struct {
	Columns  []string
	WideFrom int
	Rows     [][]string
}

// Write writes the table with aligned columns; an empty cell is a dash. Cells
// are written as Plain text.
func (t Table) Write(w io.Writer, format Format) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	width := len(t.Columns)
	if t.WideFrom > 0 && format != Wide {
		width = t.WideFrom
	}
	fmt.Fprintln(out, strings.Join(t.Columns[:width], "\t"))
	for _, row := range t.Rows {
		cells := slices.Clone(row[:width])
		for i := range cells {
			if cells[i] = Plain(cells[i]); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(out, strings.Join(cells, "\t"))
	}
	return out.Flush()
}

// Printer writes objects in the formats for machines.
type Printer struct {
	Scheme *runtime.Scheme
	Out    io.Writer
}

// One writes a single object. It reports false for the formats of people,
// which the caller writes itself.
func (p Printer) One(format Format, object client.Object) (bool, error) {
	if format == Name {
		return true, p.names(object)
	}
	if format != JSON && format != YAML {
		return false, nil
	}
	if err := p.stamp(object); err != nil {
		return true, err
	}
	return true, p.encode(format, object)
}

// List writes objects as a v1 List, like One.
func (p Printer) List(format Format, objects []client.Object) (bool, error) {
	if format == Name {
		return true, p.names(objects...)
	}
	if format != JSON && format != YAML {
		return false, nil
	}
	for _, object := range objects {
		if err := p.stamp(object); err != nil {
			return true, err
		}
	}
	if objects == nil {
		objects = []client.Object{}
	}
	return true, p.encode(format, map[string]any{"apiVersion": "v1", "kind": "List", "items": objects})
}

// PrintValue writes a value that is no object of the API as JSON or YAML. It
// reports false for the other formats, which the caller writes itself.
func PrintValue(out io.Writer, format Format, value any) (bool, error) {
	if format != JSON && format != YAML {
		return false, nil
	}
	return true, Printer{Out: out}.encode(format, value)
}

// stamp restores the kind, which typed clients drop, and leaves out the
// bookkeeping of field owners, which nobody asked for.
func (p Printer) stamp(object client.Object) error {
	kind, err := apiutil.GVKForObject(object, p.Scheme)
	if err != nil {
		return err
	}
	object.GetObjectKind().SetGroupVersionKind(kind)
	object.SetManagedFields(nil)
	return nil
}

func (p Printer) names(objects ...client.Object) error {
	for _, object := range objects {
		kind, err := apiutil.GVKForObject(object, p.Scheme)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.Out, "%s/%s\n", strings.ToLower(kind.GroupKind().String()), object.GetName())
	}
	return nil
}

func (p Printer) encode(format Format, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if format == YAML {
		raw, err = yaml.JSONToYAML(raw)
		if err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.Out, "%s\n", strings.TrimSuffix(string(raw), "\n"))
	return err
}
