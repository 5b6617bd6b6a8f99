package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"
	"knative.dev/serving/pkg/apis/serving"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// userContainer is the name that Knative gives to the container with the
// user's code.
const userContainer = "user-container"

// maxLine is the longest line that is kept whole; a longer one is cut into
// several.
const maxLine = 256 << 10

// lookForPods is how often a followed log looks for new replicas.
const lookForPods = time.Second

// logReader is one run of `knit logs`.
type logReader struct {
	env      *cmdline.Env
	cluster  *cmdline.Cluster
	pods     typedcorev1.PodInterface
	name     string
	follow   bool
	since    time.Duration
	tail     int64
	revision string
	previous bool
	build    bool

	mu     sync.Mutex // guards env.Out and prefix
	prefix bool
	wg     sync.WaitGroup
	errs   []error
}

func logsCommand(env *cmdline.Env) *cobra.Command {
	l := &logReader{env: env}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a function's replicas write, or the log of its build",
		Long: "Show what a function's replicas write, or the log of its build.\n\n" +
			"With --previous it is what replicas that are gone wrote at last (64 KiB of each of the last 10, for a day),\n" +
			"and running ones before their last restart.",
		Example:           "  knit logs hello -f --tail 10\n  knit logs hello --since 10m --revision hello-00002\n  knit logs hello --build",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.name = args[0]
			return l.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&l.follow, "follow", "f", false, "go on until interrupted, also with replicas that start later")
	flags.DurationVar(&l.since, "since", 0, "only lines of this long ago, such as 10m")
	flags.Int64Var(&l.tail, "tail", -1, "only so many of each replica's last lines; all when negative")
	flags.StringVar(&l.revision, "revision", "", "only replicas of this revision")
	flags.BoolVarP(&l.previous, "previous", "p", false, "what ended replicas wrote at last, and containers before their last restart")
	flags.BoolVar(&l.build, "build", false, "log of the last build")
	cmd.MarkFlagsMutuallyExclusive("follow", "previous")
	for _, other := range []string{"previous", "since", "tail", "revision"} {
		cmd.MarkFlagsMutuallyExclusive("build", other)
	}
	_ = cmd.RegisterFlagCompletionFunc("revision", completeRevisions(env))
	return cmd
}

func (l *logReader) run(ctx context.Context) error {
	var err error
	if l.cluster, err = l.env.Connect(newScheme()); err != nil {
		return err
	}
	function, err := getFunction(ctx, l.cluster, l.name)
	if err != nil {
		return err
	}
	if l.build {
		return l.buildLog(ctx, function)
	}
	core, err := typedcorev1.NewForConfigAndClient(l.cluster.Config, l.cluster.HTTP)
	if err != nil {
		return fmt.Errorf("read the logs of %s: %w", l.name, err)
	}
	l.pods = core.Pods(l.cluster.Namespace)
	if l.previous {
		if err := l.ended(ctx); err != nil {
			return err
		}
	}
	if err := l.replicas(ctx); err != nil && (!l.follow || !errors.Is(err, context.Canceled)) {
		return err
	}
	return nil
}

// replicas copies the logs of all replicas, and of those to come when it
// follows.
func (l *logReader) replicas(ctx context.Context) error {
	seen := sets.New[string]()
	told := false
	for {
		pods, err := l.list(ctx)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.prefix = l.prefix || len(pods) > 1 || len(pods) == 1 && seen.Len() > 0 && !seen.Has(string(pods[0].UID))
		l.mu.Unlock()
		for _, pod := range pods {
			if !seen.Has(string(pod.UID)) {
				seen.Insert(string(pod.UID))
				l.wg.Go(func() { l.copy(ctx, pod.Name) })
			}
		}
		if len(pods) == 0 && !told && !l.previous {
			told = true
			l.tellNone()
		}
		if !l.follow {
			l.wg.Wait()
			return errors.Join(l.errs...)
		}
		select {
		case <-ctx.Done():
			l.wg.Wait()
			return ctx.Err()
		case <-time.After(lookForPods):
		}
	}
}

func (l *logReader) tellNone() {
	if l.revision != "" {
		fmt.Fprintf(l.env.Err, "No replica of revision %s of %s runs now. See its revisions with `knit revisions %s`.\n", l.revision, l.name, l.name)
		return
	}
	fmt.Fprintf(l.env.Err, "No replica of %s runs now: it is scaled to zero, or never started. Call it with `knit invoke %s`; see what ended ones wrote with `knit logs %s --previous`.\n", l.name, l.name, l.name)
}

// list returns the replicas whose container has begun, oldest first.
func (l *logReader) list(ctx context.Context) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := l.cluster.List(ctx, &pods, client.InNamespace(l.cluster.Namespace), l.labels())
	if err != nil {
		return nil, fmt.Errorf("list the replicas of %s: %w", l.name, err)
	}
	begun := slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool {
		return !slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			if l.previous {
				return s.Name == userContainer && s.LastTerminationState.Terminated != nil
			}
			return s.Name == userContainer && (s.State.Waiting == nil || s.LastTerminationState.Terminated != nil)
		})
	})
	slices.SortFunc(begun, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return begun, nil
}

// labels choose the replicas.
func (l *logReader) labels() client.MatchingLabels {
	labels := client.MatchingLabels{v1alpha1.LabelFunction: l.name}
	if l.revision != "" {
		labels[serving.RevisionLabelKey] = l.revision
	}
	return labels
}

// copy copies one replica's log.
func (l *logReader) copy(ctx context.Context, pod string) {
	options := &corev1.PodLogOptions{Container: userContainer, Follow: l.follow, Previous: l.previous}
	if l.tail >= 0 {
		options.TailLines = &l.tail
	}
	if l.since > 0 {
		options.SinceSeconds = ptr.To(max(1, int64(l.since.Seconds())))
	}
	stream, err := l.pods.GetLogs(pod, options).Stream(ctx)
	if err != nil {
		l.failed(ctx, fmt.Errorf("read the log of pod %s: %w", pod, err))
		return
	}
	defer stream.Close()
	if err := l.lines(pod, stream); err != nil {
		l.failed(ctx, fmt.Errorf("read the log of pod %s: %w", pod, err))
	}
}

// lines copies whole lines, so that those of several replicas do not mix.
func (l *logReader) lines(pod string, from io.Reader) error {
	reader := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			l.write(pod, line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func (l *logReader) write(pod string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.prefix {
		fmt.Fprintf(l.env.Out, "%s  ", pod[strings.LastIndex(pod, "-")+1:])
	}
	_, _ = l.env.Out.Write(line)
	if line[len(line)-1] != '\n' {
		fmt.Fprintln(l.env.Out)
	}
}

// failed keeps an error. A followed replica may go away at any time, which is
// told and does not end the others.
func (l *logReader) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.follow {
		fmt.Fprintf(l.env.Err, "%v\n", err)
		return
	}
	l.errs = append(l.errs, err)
}

// ended copies what the function service kept of replicas that are gone.
func (l *logReader) ended(ctx context.Context) error {
	query := url.Values{}
	if l.revision != "" {
		query.Set("revision", l.revision)
	}
	if l.since > 0 {
		query.Set("since", l.since.String())
	}
	if l.tail >= 0 {
		query.Set("tail", strconv.FormatInt(l.tail, 10))
	}
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/functions/%s/log?%s", l.cluster.Namespace, l.name, query.Encode())
	response, err := l.cluster.Do(ctx, http.MethodGet, path, nil, 0)
	if err != nil {
		return fmt.Errorf("read what ended replicas of %s wrote: %w", l.name, err)
	}
	defer response.Body.Close()
	written, err := io.Copy(l.env.Out, response.Body)
	if err != nil {
		return fmt.Errorf("read what ended replicas of %s wrote: %w", l.name, err)
	}
	if written == 0 {
		fmt.Fprintf(l.env.Err, "Nothing is kept of replicas of %s that ended: the last 10 are kept for a day, unless they wrote nothing.\n", l.name)
	}
	return nil
}

// buildLog copies the log of the last build through the extension API: build
// pods run in a namespace that users cannot read.
func (l *logReader) buildLog(ctx context.Context, function *v1alpha1.Function) error {
	if function.Status.BuildRef == "" {
		return cmdline.Advise(cmdline.NotFound(fmt.Errorf("function %s has no build", l.name)),
			"a function with source.image is not built; otherwise see `knit describe %s -n %s`", l.name, function.Namespace)
	}
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/builds/%s/log?follow=%t", function.Namespace, function.Status.BuildRef, l.follow)
	response, err := l.cluster.Do(ctx, http.MethodGet, path, nil, 0)
	if err != nil {
		return fmt.Errorf("read the log of build %s: %w", function.Status.BuildRef, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(l.env.Out, response.Body); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("read the log of build %s: %w", function.Status.BuildRef, err)
	}
	return nil
}
