package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/decision"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	"github.com/knit-dev/knit/functions/cli/project"
)

// cancelPatience is how long an interrupted command takes to cancel its builds.
const cancelPatience = 5 * time.Second

// building is one run of `knit build`.
type building struct {
	env      *cmdline.Env
	cluster  *cmdline.Cluster
	progress *cmdline.Progress
	manifest *project.Manifest
	sources  []*project.Source
	builds   []*v1alpha1.Build // what was created

	at      string
	dryRun  bool
	force   bool
	timeout time.Duration
	format  cmdline.Format
	local   local
}

func buildCommand(env *cmdline.Env) *cobra.Command {
	b := &building{env: env, at: "."}
	cmd := &cobra.Command{
		Use:   "build [folder|file]",
		Short: "Build the functions of a project without deploying them, and look at builds",
		Long: "Build the functions of a project without deploying them, and print the images by digest.\n\n" +
			"It packs and uploads what `knit deploy` would, and a later `knit deploy` of the same source takes the image.\n" +
			"What did not change is not built again. An interrupted command cancels the builds that it began.\n\n" +
			"With --local the Docker or Podman engine of this machine builds with the same builder, and the image\n" +
			"has the same digest. It needs the registry that holds the builder and no cluster.",
		Example: "  knit build samples/hello\n  knit build --dry-run\n  knit build --local --registry 198.18.0.1:5000\n  knit build explain hello",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				b.at = args[0]
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), b.timeout)
			defer cancel()
			return b.run(ctx)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&b.dryRun, "dry-run", false, "say what would be done and why; nothing is uploaded or built")
	flags.BoolVar(&b.force, "force", false, "build even if there is an image of the same inputs")
	flags.DurationVar(&b.timeout, "timeout", 30*time.Minute, "give up waiting after this long; the builds are cancelled")
	b.format.AddOutput(cmd)
	b.local.add(flags)
	cmd.MarkFlagsMutuallyExclusive("local", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("local", "force")
	return cmd
}

func (b *building) run(ctx context.Context) error {
	namespace, err := b.env.WorkingNamespace()
	if err != nil && b.local.wanted {
		namespace, err = "default", nil // only a part of the image's name
	}
	if err != nil {
		return err
	}
	if b.manifest, err = project.Read(b.at, namespace, b.env.Namespace != ""); err != nil {
		return err
	}
	if !b.local.wanted {
		if b.cluster, err = b.env.Connect(newScheme()); err != nil {
			return err
		}
	}
	b.progress = cmdline.NewProgress(b.env)
	defer b.progress.Clear()
	defer func() {
		for _, s := range b.sources {
			s.Close()
		}
	}()
	functions, err := b.pack()
	if err != nil {
		return err
	}
	if b.local.wanted {
		return b.buildHere(ctx, functions)
	}
	if b.dryRun {
		return b.foretell(ctx, functions)
	}
	err = b.make(ctx, functions)
	if err == nil {
		err = follow(ctx, b.cluster, b.progress, b.builds)
	}
	if err != nil {
		return b.giveUp(ctx, err)
	}
	return printImages(b.env, b.progress, b.format, b.builds)
}

// pack packs every folder. Functions that are given as an image are left out.
func (b *building) pack() ([]*v1alpha1.Function, error) {
	var functions []*v1alpha1.Function
	for _, doc := range b.manifest.Functions() {
		if !doc.Function.Spec.Source.Built() && doc.Function.Spec.Source.Path == "" {
			continue
		}
		b.progress.Doing("packing %s", doc.Function.Name)
		packed, err := b.manifest.PackFunction(doc)
		if err != nil {
			return nil, err
		}
		b.sources = append(b.sources, packed)
		if packed != nil {
			b.progress.Done("Packed", "%s: %d files, %s", doc.Function.Name, packed.Files, cmdline.Bytes(packed.Size))
		}
		functions = append(functions, doc.Function)
	}
	if len(functions) == 0 {
		return nil, cmdline.Usagef("%s has no function to build: all of them name a ready image", b.manifest.File)
	}
	return functions, nil
}

// foretell says what would be done, as far as can be known here.
func (b *building) foretell(ctx context.Context, functions []*v1alpha1.Function) error {
	b.progress.Clear()
	for _, fn := range functions {
		builds, err := buildsOf(ctx, b.cluster, fn.Namespace, fn.Name)
		if err != nil {
			return err
		}
		answer := decision.Foretell(fn, builds)
		fmt.Fprintf(b.env.Out, "%s: ", fn.Name)
		if err := writeDecision(b.env.Out, &answer.BuildDecision); err != nil {
			return err
		}
	}
	return nil
}

// make uploads the sources and creates the builds.
func (b *building) make(ctx context.Context, functions []*v1alpha1.Function) error {
	for i, fn := range functions {
		if b.sources[i] == nil {
			continue
		}
		b.progress.Doing("uploading %s", fn.Name)
		sent, err := b.sources[i].Upload(ctx, b.cluster, fn.Namespace)
		if err != nil {
			return err
		}
		remark := "the cluster has it already"
		if sent {
			remark = cmdline.Bytes(b.sources[i].Size)
		}
		b.progress.Done("Uploaded", "%s: %s", fn.Name, remark)
	}
	for _, fn := range functions {
		build := makeBuild(fn, b.env.Now(), b.force)
		if err := b.cluster.Create(ctx, build, fieldOwner); err != nil {
			return fmt.Errorf("create a build of %s in namespace %s: %w", fn.Name, fn.Namespace, err)
		}
		b.builds = append(b.builds, build)
	}
	return nil
}

// makeBuild is a Build of what a manifest says. A branch is looked at anew.
func makeBuild(fn *v1alpha1.Function, now time.Time, force bool) *v1alpha1.Build {
	source, request := decision.Source(fn)
	if source.Git != nil && request == "" {
		request = now.UTC().Format(time.RFC3339Nano)
	}
	return &v1alpha1.Build{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fn.Namespace, GenerateName: fn.Name + "-", Labels: map[string]string{v1alpha1.LabelFunction: fn.Name},
		},
		Spec: v1alpha1.BuildSpec{
			Function: fn.Name, Source: source, Request: request, Language: fn.Spec.Language,
			BuilderImage: fn.Spec.Build.Builder, Env: fn.Spec.Build.Env, Force: force,
		},
	}
}

// giveUp cancels what this command began and still runs.
func (b *building) giveUp(ctx context.Context, err error) error {
	if !interrupted(err) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	b.progress.Clear()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	for _, build := range b.builds {
		if ended, _ := build.Done(); ended {
			continue
		}
		if cancelErr := askToCancel(ctx, b.cluster, build); client.IgnoreNotFound(cancelErr) != nil {
			return cmdline.Advise(errors.Join(err, cancelErr), "cancel it with `knit build cancel %s -n %s`", build.Name, build.Namespace)
		}
	}
	if interrupted(err) {
		return cmdline.Exit(errors.New("interrupted; the builds that had not ended were cancelled"), cmdline.ExitInterrupted)
	}
	return cmdline.Timeout(fmt.Errorf("%w; the builds that had not ended were cancelled", err))
}
