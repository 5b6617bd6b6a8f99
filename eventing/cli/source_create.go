package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxSpec is the largest spec of a source in bytes; the API server takes little more.
const maxSpec = 1 << 20

// sourceFlags say what a source is.
type sourceFlags struct {
	kind, apiVersion, file, to string
	set                        []string
}

func createSource(env *cmdline.Env) *cobra.Command {
	f := &sourceFlags{}
	cmd := createCommand(env, sources, "Create a source of any installed kind, which sends events to a sink",
		"  knit source create tick --kind PingSource --set 'schedule=*/5 * * * *' --set 'data={\"a\":1}' --set contentType=application/json --to clean\n"+
			"  knit source create watch --kind ApiServerSource --spec spec.yaml --to broker:default",
		"--spec is a file with the fields of the object's spec in YAML or JSON; - is standard input. --set sets one field of it,\n"+
			"by the type that the kind's definition gives it; lists and objects are written in YAML. The kind is looked up in\n"+
			"the cluster, with --dry-run too; `knit source types` lists what there is.\n\n"+sinkHelp,
		f.object)
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "kind of the source, such as PingSource")
	flags.StringVar(&f.apiVersion, "api-version", "", "version of the kind (default: the newest that is served)")
	flags.StringVar(&f.file, "spec", "", "file with the spec; - is standard input")
	flags.StringArrayVar(&f.set, "set", nil, "path=value: a field of the spec, such as schedule or ceOverrides.extensions.tenant; repeatable")
	flags.StringVar(&f.to, "to", "", "SINK that gets the events")
	completeKinds(env, cmd, sources)
	return cmd
}

func (f *sourceFlags) object(ctx context.Context, c *creation) (*unstructured.Unstructured, error) {
	if f.kind == "" {
		return nil, cmdline.Advise(cmdline.Usagef("say what kind of source: add --kind"), "see the kinds with `knit source types`")
	}
	spec, err := f.read(c.Env)
	if err != nil {
		return nil, err
	}
	if f.to != "" || spec["sink"] == nil {
		sink, err := c.sink("to", f.to)
		if err != nil {
			return nil, err
		}
		if spec["sink"], err = toFields(sink); err != nil {
			return nil, fmt.Errorf("write the sink: %w", err)
		}
	}
	k, err := f.chosen(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, assignment := range f.set {
		if err := setField(k, spec, assignment); err != nil {
			return nil, err
		}
	}
	object := k.object()
	object.Object["spec"] = spec
	return object, nil
}

// chosen looks the kind up.
func (f *sourceFlags) chosen(ctx context.Context, c *creation) (kind, error) {
	if err := c.connect(); err != nil {
		return kind{}, err
	}
	kinds, err := sourceKinds(ctx, c.Env, c.cluster)
	if err != nil {
		return kind{}, err
	}
	k, err := choose(kinds, f.kind, "source")
	if err != nil || f.apiVersion == "" {
		return k, err
	}
	return k.in(f.apiVersion)
}

// read reads the file with the spec; without one the spec is empty.
func (f *sourceFlags) read(env *cmdline.Env) (map[string]any, error) {
	spec := map[string]any{}
	if f.file == "" {
		return spec, nil
	}
	from := env.In
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, cmdline.Usage(fmt.Errorf("read the spec: %w", err))
		}
		defer file.Close()
		from = file
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxSpec+1))
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the spec: %w", err))
	}
	if len(raw) > maxSpec {
		return nil, cmdline.Usagef("the spec in %s is larger than %s", f.file, cmdline.Bytes(maxSpec))
	}
	if raw, err = yaml.YAMLToJSONStrict(raw); err == nil {
		err = utiljson.Unmarshal(raw, &spec)
	}
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the spec in %s: %w", f.file, err))
	}
	if spec["apiVersion"] != nil && spec["kind"] != nil {
		err := cmdline.Usagef("%s holds a whole object, and --spec takes only what is below its spec", f.file)
		return nil, cmdline.Advise(err, "apply it with `kubectl apply -f %s`", f.file)
	}
	if spec == nil {
		spec = map[string]any{}
	}
	return spec, nil
}
