package service

import (
	"context"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"knative.dev/serving/pkg/apis/serving"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// userContainer is the name that Knative gives to the container with the
	// user's code.
	userContainer = "user-container"
	// collectAtOnce is how many logs are collected at once; one namespace gets at
	// most half. Each needs twice replicaLogBytes of memory.
	collectAtOnce = 64
	// collectLines and collectBytes bound what is read to find a log's end.
	collectLines = 5000
	collectBytes = 16 << 20
	// collectPatience is how long a replica may take to end beyond its grace
	// period; collectTimeout is the most in all.
	collectPatience = 30 * time.Second
	collectTimeout  = 15 * time.Minute
)

// Collector keeps the ends of the logs of replicas that end: Kubernetes drops a
// pod's log with the pod, and a function that scales to zero would leave nothing.
//
// It watches the pods that carry a Function's label, of which it keeps the names
// only, and reads the log of one when it is told to end. What ends while no
// replica of the control plane leads, or too much at once, is not kept.
type Collector struct {
	kube   kubernetes.Interface
	store  *store
	reader client.Reader
	now    func() time.Time
	slots  *slots

	mu   sync.Mutex
	seen map[types.UID]bool
	wg   sync.WaitGroup
}

// NewCollector needs the Kube, Registry, Keychain, Transport and Reader of the
// options.
func NewCollector(o Options) *Collector {
	return &Collector{
		kube: o.Kube, store: o.withDefaults().store(), reader: o.Reader, now: time.Now,
		slots: newSlots(collectAtOnce), seen: map[types.UID]bool{},
	}
}

// NeedLeaderElection tells a controller-runtime manager that one is enough.
func (c *Collector) NeedLeaderElection() bool { return true }

// Start collects until ctx ends.
func (c *Collector) Start(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(c.kube, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.LabelFunction }),
		informers.WithTransform(onlyName))
	pods := factory.Core().V1().Pods().Informer()
	look := func(object any) { c.look(ctx, object) }
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: look, UpdateFunc: func(_, now any) { look(now) }, DeleteFunc: c.forget,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
	c.wg.Wait()
	return nil
}

// onlyName drops what is not needed of a pod before it is kept in memory.
func onlyName(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		DeletionTimestamp: pod.DeletionTimestamp, DeletionGracePeriodSeconds: pod.DeletionGracePeriodSeconds,
		Labels: map[string]string{
			v1alpha1.LabelFunction:   pod.Labels[v1alpha1.LabelFunction],
			serving.RevisionLabelKey: pod.Labels[serving.RevisionLabelKey],
		},
	}}, nil
}

func (c *Collector) forget(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.seen, pod.UID)
	}
}

// look begins to collect once a pod is told to end.
func (c *Collector) look(ctx context.Context, object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok || pod.DeletionTimestamp == nil {
		return
	}
	c.mu.Lock()
	known := c.seen[pod.UID]
	c.seen[pod.UID] = true
	c.mu.Unlock()
	if known {
		return
	}
	release, ok := c.slots.take(pod.Namespace)
	if !ok {
		klog.FromContext(ctx).Info("Too many replicas end at once; the log of one is not kept", "pod", klog.KObj(pod))
		return
	}
	c.wg.Go(func() {
		defer release()
		if err := c.collect(ctx, pod); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The log of a replica that ended was not kept", "pod", klog.KObj(pod))
		}
	})
}

// collect reads a log to its end and keeps that end.
func (c *Collector) collect(ctx context.Context, pod *corev1.Pod) error {
	function := pod.Labels[v1alpha1.LabelFunction]
	var fn v1alpha1.Function
	if err := c.reader.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: function}, &fn); err != nil {
		return client.IgnoreNotFound(err) // the logs of a deleted function go with it
	}
	grace := time.Duration(ptr.Deref(pod.DeletionGracePeriodSeconds, 0)) * time.Second
	reading, cancel := context.WithTimeout(ctx, min(grace+collectPatience, collectTimeout))
	defer cancel()
	stream, err := c.kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: userContainer, Follow: true, TailLines: ptr.To(int64(collectLines)), LimitBytes: ptr.To(int64(collectBytes)),
	}).Stream(reading)
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
		return nil // it is gone already, or its container never began
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	end := &tail{limit: replicaLogBytes}
	// A line that breaks, or a replica that does not end, leaves what came so far.
	_, err = io.Copy(end, stream)
	text, truncated := end.text()
	if len(text) == 0 || ctx.Err() != nil {
		return err
	}
	return c.store.keepReplicaLog(ctx, pod.Namespace, function, replicaLog{
		uid: string(pod.UID), pod: pod.Name, revision: pod.Labels[serving.RevisionLabelKey],
		ended: c.now(), truncated: truncated, text: text,
	})
}

// tail keeps the last bytes that are written to it, in at most twice their memory.
type tail struct {
	limit int
	kept  []byte
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, n-t.limit):]
	t.cut = t.cut || len(p) < n
	if len(t.kept)+len(p) > 2*t.limit {
		t.trim(t.limit)
	}
	t.kept = append(t.kept, p...)
	return n, nil
}

func (t *tail) trim(limit int) {
	if extra := len(t.kept) - limit; extra > 0 {
		t.cut = true
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
}

func (t *tail) text() (text []byte, cut bool) {
	t.trim(t.limit)
	return t.kept, t.cut
}
