package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

// deployment is one run of `knit deploy`.
type deployment struct {
	env      *cmdline.Env
	cluster  *cmdline.Cluster
	progress *cmdline.Progress
	manifest *project.Manifest
	sources  map[string]*project.Source // function → its packed folder
	carrying bool                       // the cluster is being changed
	applied  []string                   // what was changed for sure

	at      string
	dryRun  cmdline.DryRun
	diff    bool
	noWait  bool
	rebuild bool
	timeout time.Duration
	format  cmdline.Format
}

func deployCommand(env *cmdline.Env) *cobra.Command {
	d := &deployment{env: env, at: ".", sources: map[string]*project.Source{}}
	cmd := &cobra.Command{
		Use:   "deploy [folder|file]",
		Short: "Build and run the functions of a project, and print their URLs",
		Long: "Build and run the functions of a project, and print their URLs.\n\n" +
			"The folder holds a " + project.FileName + " with one or many Functions and Schedules, and Knative's Brokers, Triggers,\n" +
			"Channels, Subscriptions, Sequences and Parallels between them. Folders named by source.path, and\n" +
			"the shared paths of source.include, are packed (without what .gitignore and .knitignore name), uploaded\n" +
			"if the cluster does not know them yet, built, and run. What did not change is not built again. A\n" +
			"source.git is fetched by the cluster; --rebuild looks at its branch anew.\n\n" +
			"--diff shows what would change in the cluster, field by field, and whether functions would be built and\n" +
			"why; nothing is uploaded or changed. It ends with 0 when nothing would change, 1 when something would, and\n" +
			"more than 1 when it failed.",
		Example: "  knit deploy samples/hello\n  knit deploy --diff\n  knit deploy --dry-run=server",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				d.at = args[0]
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), d.timeout)
			defer cancel()
			err := d.explain(d.run(ctx))
			if d.diff {
				return cmdline.BesidesDifference(err)
			}
			return err
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	flags := cmd.Flags()
	d.dryRun.AddFlag(cmd, "client: check and print, without a cluster; server: let the API server check too")
	flags.BoolVar(&d.diff, "diff", false, "show what would change, and change nothing")
	flags.BoolVar(&d.noWait, "no-wait", false, "return when everything is applied")
	flags.BoolVar(&d.rebuild, "rebuild", false, "fetch and build git sources again, where a branch may have moved")
	flags.DurationVar(&d.timeout, "timeout", 15*time.Minute, "give up waiting after this long")
	d.format.AddOutput(cmd)
	for _, other := range []string{"dry-run", "no-wait", "rebuild", "output"} {
		cmd.MarkFlagsMutuallyExclusive("diff", other)
	}
	return cmd
}

func (d *deployment) run(ctx context.Context) error {
	if err := d.dryRun.Check(); err != nil {
		return err
	}
	namespace, err := d.namespace()
	if err != nil {
		return err
	}
	if d.manifest, err = project.Read(d.at, namespace, d.env.Namespace != ""); err != nil {
		return err
	}
	d.progress = cmdline.NewProgress(d.env)
	defer d.progress.Clear()
	defer func() {
		for _, s := range d.sources {
			s.Close()
		}
	}()
	if err := d.pack(); err != nil {
		return err
	}
	if d.dryRun == cmdline.DryRunClient {
		return d.print(d.written())
	}
	if d.cluster, err = d.env.Connect(newScheme()); err != nil {
		return err
	}
	// The API server judges everything before anything is sent or changed.
	checked, err := d.apply(ctx, client.DryRunAll)
	if err != nil || d.dryRun == cmdline.DryRunServer {
		return errors.Join(err, d.print(checked))
	}
	if d.diff {
		return d.showDifferences(ctx, checked)
	}
	return d.carryOut(ctx)
}

// carryOut uploads, applies and waits.
func (d *deployment) carryOut(ctx context.Context) error {
	if err := d.upload(ctx); err != nil {
		return err
	}
	follower := newFollower(d.cluster, d.progress)
	if err := follower.remember(ctx, d.manifest); err != nil {
		return err
	}
	d.carrying = true
	if d.rebuild {
		if err := d.askForRebuild(ctx); err != nil {
			return err
		}
	}
	applied, err := d.apply(ctx)
	if err != nil {
		return err
	}
	d.progress.Done("Applied", "%s", count(d.manifest))
	if d.noWait {
		return d.print(applied)
	}
	if err := follower.follow(ctx, applied); err != nil {
		return err
	}
	return d.finish(ctx)
}

// namespace is where objects go that name none. A dry run on the client works
// without any kubeconfig.
func (d *deployment) namespace() (string, error) {
	namespace, err := d.env.WorkingNamespace()
	if err != nil && d.dryRun == cmdline.DryRunClient {
		return "default", nil
	}
	return namespace, err
}

// pack packs every folder and writes its digest into the object to apply.
func (d *deployment) pack() error {
	for _, doc := range d.manifest.Functions() {
		if doc.Function.Spec.Source.Path == "" {
			continue // an image, a git repository, or an archive that was pushed before
		}
		if err := d.packOne(doc); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) packOne(doc project.Document) error {
	d.progress.Doing("packing %s", filepath.Join(filepath.Dir(d.manifest.File), doc.Function.Spec.Source.Path))
	packed, err := d.manifest.PackFunction(doc)
	if err != nil {
		return err
	}
	d.sources[doc.Function.Namespace+"/"+doc.Function.Name] = packed
	d.progress.Done("Packed", "%s: %d files, %s", doc.Function.Name, packed.Files, cmdline.Bytes(packed.Size))
	return nil
}

// rebuildOwner owns the annotation alone: a later deployment without --rebuild
// must not take it away, which would bring the Build before it back.
const rebuildOwner = client.FieldOwner("knit-cli-rebuild")

// askForRebuild asks for another look at the branches of git sources. What is
// new is built anyway.
func (d *deployment) askForRebuild(ctx context.Context) error {
	for _, doc := range d.manifest.Functions() {
		var there v1alpha1.Function
		err := d.cluster.Get(ctx, client.ObjectKeyFromObject(doc.Function), &there)
		if apierrors.IsNotFound(err) || doc.Function.Spec.Source.Git == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", doc.Title(), err)
		}
		ask := &unstructured.Unstructured{}
		ask.SetGroupVersionKind(doc.Written.GroupVersionKind())
		ask.SetNamespace(there.Namespace)
		ask.SetName(there.Name)
		ask.SetAnnotations(map[string]string{v1alpha1.AnnotationRebuild: d.env.Now().UTC().Format(time.RFC3339)})
		if err := d.cluster.Apply(ctx, client.ApplyConfigurationFromUnstructured(ask), rebuildOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("ask for another build of %s: %w", doc.Title(), err)
		}
	}
	return nil
}

func (d *deployment) upload(ctx context.Context) error {
	for _, doc := range d.manifest.Functions() {
		packed := d.sources[doc.Function.Namespace+"/"+doc.Function.Name]
		if packed == nil {
			continue
		}
		d.progress.Doing("uploading %s", doc.Function.Name)
		sent, err := packed.Upload(ctx, d.cluster, doc.Function.Namespace)
		if err != nil {
			return err
		}
		remark := "the cluster has it already"
		if sent {
			remark = cmdline.Bytes(packed.Size)
		}
		d.progress.Done("Uploaded", "%s: %s", doc.Function.Name, remark)
	}
	return nil
}

// apply applies every document and returns what the API server made of it.
// Whoever deploys owns what the manifest says, also over `kubectl edit`.
func (d *deployment) apply(ctx context.Context, options ...client.ApplyOption) ([]client.Object, error) {
	options = append(options, cmdline.FieldOwner, client.ForceOwnership)
	var applied []client.Object
	for _, doc := range d.manifest.Documents {
		object := doc.Written.DeepCopy()
		if err := d.cluster.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), options...); err != nil {
			err = notApplied{err, doc.At(d.manifest.File, fmt.Sprintf("apply %s to namespace %s: %v", doc.Title(), object.GetNamespace(), err))}
			if apierrors.IsInvalid(err) {
				err = cmdline.Usage(err)
			}
			return nil, err
		}
		if d.carrying {
			d.applied = append(d.applied, doc.Title())
		}
		typed, _ := d.cluster.Scheme().New(object.GroupVersionKind())
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed); err != nil {
			return nil, fmt.Errorf("read the answer for %s: %w", doc.Title(), err)
		}
		applied = append(applied, typed.(client.Object))
	}
	return applied, nil
}

// notApplied is what the API server said of a document, with the place in the
// manifest.
type notApplied struct {
	error
	told string
}

func (e notApplied) Error() string { return e.told }
func (e notApplied) Unwrap() error { return e.error }

// written are the objects as they would be applied.
func (d *deployment) written() []client.Object {
	objects := make([]client.Object, 0, len(d.manifest.Documents))
	for _, doc := range d.manifest.Documents {
		objects = append(objects, doc.Written)
	}
	return objects
}

// print writes objects that nobody waited for.
func (d *deployment) print(objects []client.Object) error {
	d.progress.Clear()
	if objects == nil {
		return nil
	}
	format := d.format
	if format == cmdline.Text || format == cmdline.Wide {
		format = cmdline.Name
	}
	_, err := cmdline.Printer{Scheme: newScheme(), Out: d.env.Out}.List(format, objects)
	return err
}

// finish prints the URLs: one alone for a single function, so that a script
// can take it as it is, or else each after its name.
func (d *deployment) finish(ctx context.Context) error {
	functions := d.manifest.Functions()
	objects := make([]client.Object, 0, len(functions))
	for _, doc := range functions {
		var function v1alpha1.Function
		if err := d.cluster.Get(ctx, client.ObjectKeyFromObject(doc.Function), &function); err != nil {
			return fmt.Errorf("read %s: %w", doc.Title(), err)
		}
		objects = append(objects, &function)
	}
	d.progress.Clear()
	if done, err := (cmdline.Printer{Scheme: d.cluster.Scheme(), Out: d.env.Out}).List(d.format, objects); done {
		return err
	}
	for _, object := range objects {
		function := object.(*v1alpha1.Function)
		if len(objects) > 1 {
			fmt.Fprintf(d.env.Out, "%s\t", function.Name)
		}
		fmt.Fprintln(d.env.Out, function.Status.URL)
	}
	return nil
}

// explain says, when the command was cut short, where that leaves the cluster.
func (d *deployment) explain(err error) error {
	interrupted, late := errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded)
	if !interrupted && !late {
		return err
	}
	if interrupted {
		err = cmdline.Exit(errors.New("interrupted; "+d.left()), cmdline.ExitInterrupted)
	}
	switch {
	case d.carrying && len(d.applied) == len(d.manifest.Documents):
		return cmdline.Advise(err, "see how far it is with `knit list`, or run `knit deploy %s` again to go on watching", d.at)
	case late && !d.carrying:
		err = cmdline.Timeout(fmt.Errorf("%w; %s", err, d.left()))
	}
	return cmdline.Advise(err, "run `knit deploy %s` again; what was uploaded is not uploaded again", d.at)
}

// left is the state in which the command leaves the cluster.
func (d *deployment) left() string {
	if !d.carrying {
		return "nothing was changed in the cluster"
	}
	var others []string
	for _, doc := range d.manifest.Documents {
		if !slices.Contains(d.applied, doc.Title()) {
			others = append(others, doc.Title())
		}
	}
	if len(others) == 0 {
		return "the cluster goes on building and deploying what was applied"
	}
	text := "not applied, or not for sure: " + strings.Join(others, ", ")
	if len(d.applied) > 0 {
		text = "the cluster goes on with what was applied (" + strings.Join(d.applied, ", ") + "); " + text
	}
	return text
}

// count says how many objects of each kind a manifest has, functions first.
func count(m *project.Manifest) string {
	texts := []string{plural(len(m.Functions()), "function")}
	numbers := map[string]int{}
	for _, doc := range m.Documents {
		if doc.Function == nil {
			numbers[strings.ToLower(doc.Written.GetKind())]++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(numbers)) {
		texts = append(texts, plural(numbers[kind], kind))
	}
	return strings.Join(texts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
