package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// logBytes is the most that is read of one phase's log.
	logBytes = 16 << 20
	// logTimeout ends a followed log whose build never ends.
	logTimeout = 3 * time.Hour
	// logPoll is how often a queued Build is looked at.
	logPoll = time.Second
	// logRetrySeconds is when to come again when all slots are taken.
	logRetrySeconds = 5
)

// phases are all that may be asked for; containers have their logs.
var (
	phases = []v1alpha1.PhaseName{
		v1alpha1.PhaseFetch, v1alpha1.PhaseAnalyze, v1alpha1.PhaseRestore,
		v1alpha1.PhaseDetect, v1alpha1.PhaseBuild, v1alpha1.PhaseExport, v1alpha1.PhaseRebase,
	}
	containers = slices.DeleteFunc(slices.Clone(phases), func(p v1alpha1.PhaseName) bool { return p.Container() != p })
)

// logHandler hands out the log of a Build to those who may read it in the
// Build's namespace; they have no access to the namespace of the pods.
//
//	GET …/namespaces/{namespace}/builds/{name}/log?follow=true&phase=build
type logHandler struct {
	builds    client.Reader
	pods      typedcorev1.PodInterface
	store     *store
	namespace string
	streams   *slots
}

func (h *logHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if r.Method != http.MethodGet {
		writeError(w, r, methodNotAllowed(w, r, "GET"))
		return
	}
	query, err := readLogQuery(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	release, ok := h.streams.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many build logs are being read in namespace %q or in all; try again", info.Namespace), logRetrySeconds))
		return
	}
	defer release()

	ctx, cancel := context.WithTimeout(r.Context(), logTimeout)
	defer cancel()
	build, pod, err := h.findPod(ctx, types.NamespacedName{Namespace: info.Namespace, Name: info.Name}, query.follow)
	var kept []keptPhase
	if errors.Is(err, errNoPod) {
		if kept, err = h.store.keptLog(ctx, build); errors.Is(err, errUnknownSource) {
			err = gone(build)
		} else if err != nil {
			err = registryFailed(err)
		}
	}
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	out := &flushWriter{to: w, control: http.NewResponseController(w)}
	out.flush()
	if pod == nil {
		err = copyKept(out, kept, query)
	} else {
		err = h.copyPhases(ctx, out, pod, query)
	}
	if err != nil && ctx.Err() == nil {
		// The status is sent: the rest of the story goes into the text.
		fmt.Fprintf(out, "\nknit: the log ends here: %v\n", err)
	}
}

type logQuery struct {
	follow bool
	phases []v1alpha1.PhaseName
}

func readLogQuery(r *http.Request) (logQuery, error) {
	query := logQuery{phases: containers}
	values := r.URL.Query()
	if text := values.Get("follow"); text != "" {
		follow, err := strconv.ParseBool(text)
		if err != nil {
			return query, apierrors.NewBadRequest(fmt.Sprintf("follow=%q is neither true nor false", text))
		}
		query.follow = follow
	}
	if text := values.Get("phase"); text != "" {
		phase := v1alpha1.PhaseName(text)
		if !slices.Contains(phases, phase) {
			return query, apierrors.NewBadRequest(fmt.Sprintf("phase=%q is unknown; a build has %v", text, phases))
		}
		query.phases = []v1alpha1.PhaseName{phase.Container()}
	}
	return query, nil
}

// findPod finds a Build and its pod. With follow it waits while the Build is
// queued. It is errNoPod when the Build has ended and its pod is gone.
func (h *logHandler) findPod(ctx context.Context, key types.NamespacedName, follow bool) (*v1alpha1.Build, *corev1.Pod, error) {
	for {
		var build v1alpha1.Build
		if err := h.builds.Get(ctx, key, &build); apierrors.IsNotFound(err) {
			return nil, nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(resourceBuilds).GroupResource(), key.Name)
		} else if err != nil {
			return nil, nil, fmt.Errorf("read Build %s: %w", key, err)
		}
		ended, _ := build.Done()
		if build.Status.PodName != "" {
			pod, err := h.readPod(ctx, &build)
			if err == nil || ended || !errors.Is(err, errNoPod) {
				return &build, pod, err
			}
		}
		if ended {
			return &build, nil, errNoPod
		}
		if !follow {
			return nil, nil, statusError(http.StatusConflict, metav1.StatusReasonConflict,
				fmt.Sprintf("Build %s has not started; add follow=true to wait for it", key))
		}
		if err := sleep(ctx, logPoll); err != nil {
			return nil, nil, err
		}
	}
}

var errNoPod = errors.New("there is no pod")

// readPod makes sure that the pod belongs to this very Build: who may write a
// status could name another's pod there, but nobody chooses a UID.
func (h *logHandler) readPod(ctx context.Context, build *v1alpha1.Build) (*corev1.Pod, error) {
	if !strings.HasPrefix(build.Status.PodName, "build-"+string(build.UID)) {
		return nil, errNoPod
	}
	pod, err := h.pods.Get(ctx, build.Status.PodName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errNoPod
	}
	if err != nil {
		return nil, fmt.Errorf("read pod %s/%s: %w", h.namespace, build.Status.PodName, err)
	}
	return pod, nil
}

func gone(build *v1alpha1.Build) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound,
		fmt.Sprintf("the log of Build %s/%s is not kept any more, or it never ran; its Succeeded condition holds the last lines of a failure, or build again", build.Namespace, build.Name))
}

// copyPhases writes the logs of the phases one after the other.
func (h *logHandler) copyPhases(ctx context.Context, out *flushWriter, pod *corev1.Pod, query logQuery) error {
	for _, phase := range query.phases {
		started := containerStarted(pod, phase)
		if !started && query.follow && !ended(pod) {
			var err error
			if pod, err = h.waitFor(ctx, pod, phase); err != nil {
				return err
			}
			started = containerStarted(pod, phase)
		}
		if !started {
			continue
		}
		fmt.Fprintf(out, "===> %s\n", phase)
		if err := h.copyLog(ctx, out, pod.Name, phase, query.follow); err != nil {
			return err
		}
	}
	return nil
}

func (h *logHandler) copyLog(ctx context.Context, out *flushWriter, pod string, phase v1alpha1.PhaseName, follow bool) error {
	limit := int64(logBytes)
	stream, err := h.pods.GetLogs(pod, &corev1.PodLogOptions{Container: string(phase), Follow: follow, LimitBytes: &limit}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of phase %s: %w", phase, err)
	}
	defer stream.Close()
	if err := out.copy(stream); err != nil {
		return fmt.Errorf("read the log of phase %s: %w", phase, err)
	}
	return nil
}

// waitFor returns the pod once the phase has begun or never will.
func (h *logHandler) waitFor(ctx context.Context, pod *corev1.Pod, phase v1alpha1.PhaseName) (*corev1.Pod, error) {
	for {
		current, err := h.pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("wait for phase %s: %w", phase, err)
		}
		if current.UID != pod.UID {
			return nil, fmt.Errorf("wait for phase %s: the build was started again; ask for its log again", phase)
		}
		if containerStarted(current, phase) || ended(current) {
			return current, nil
		}
		if err := h.nextChange(ctx, current); err != nil {
			return nil, fmt.Errorf("wait for phase %s: %w", phase, err)
		}
	}
}

// nextChange returns after something happened to the pod, or after a while.
func (h *logHandler) nextChange(ctx context.Context, pod *corev1.Pod) error {
	seconds := int64(30)
	changes, err := h.pods.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, pod.Name).String(),
		ResourceVersion: pod.ResourceVersion,
		TimeoutSeconds:  &seconds,
	})
	if err != nil {
		// The version may be too old to watch from; look again instead.
		return sleep(ctx, logPoll)
	}
	defer changes.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case _, open := <-changes.ResultChan():
		if !open {
			return sleep(ctx, logPoll)
		}
		return nil
	}
}

func containerStarted(pod *corev1.Pod, phase v1alpha1.PhaseName) bool {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.Name == string(phase) {
			return status.State.Running != nil || status.State.Terminated != nil
		}
	}
	return false
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
