package deadletters

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/eventing/taps"
	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/reconcile"
)

// Options say where the store is and where the sink listens.
type Options struct {
	// Store is the address of the JetStream server, nats://host:port; several
	// parted by commas are of one cluster.
	Store string
	// Replicas is how many servers keep each letter.
	Replicas int
	// Listen is the TCP address of the sink, for plain HTTP inside of the cluster.
	Listen string
	// Taps takes what is sent to its paths, beside the sink.
	Taps *taps.Taps
	// Secrets are those of the namespace of the store.
	Secrets corev1client.SecretInterface
	// Reader reads the kinds of AddToScheme, best from a cache.
	Reader client.Reader
}

const (
	// user and SecretName are the login to the store; the Secret's key is password.
	user           = "knit"
	SecretName     = "knit-dead-letters"
	secretPassword = "password"
)

// DeadLetters is the sink and the hand that gives letters out.
type DeadLetters struct {
	options  Options
	conn     *nats.Conn
	store    *Store
	redriver redriver
}

// New makes the password of the store, if there is none yet, and begins to
// connect; a store that is away keeps nothing else from starting.
func New(ctx context.Context, o Options) (*DeadLetters, error) {
	password, err := ensurePassword(ctx, o.Secrets)
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect(o.Store,
		nats.Name("knit-controlplane"), nats.UserInfo(user, password),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(again), nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
	)
	if err != nil {
		return nil, fmt.Errorf("reach the store of dead letters at %s: %w", o.Store, err)
	}
	store, err := NewStore(conn, o.Replicas)
	if err != nil {
		return nil, err
	}
	return &DeadLetters{options: o, conn: conn, store: store, redriver: redriver{
		store: store, ways: ways{o.Reader}, client: reconcile.Egress(deliverTimeout, reconcile.Forbidden), time: RedriveTime,
	}}, nil
}

// ensurePassword returns the password in the Secret, which the store's pod reads
// too. Two replicas that start at once agree on the first.
func ensurePassword(ctx context.Context, secrets corev1client.SecretInterface) (string, error) {
	made := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: SecretName, Labels: map[string]string{"app.kubernetes.io/part-of": "knit"}},
		// NATS takes what begins with a digit for a number.
		Data: map[string][]byte{secretPassword: []byte("k" + rand.Text())},
	}
	_, err := secrets.Create(ctx, made, metav1.CreateOptions{FieldManager: "knit"})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("make Secret %s, the login to the store of dead letters: %w", SecretName, err)
	}
	secret, err := secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read Secret %s, the login to the store of dead letters: %w", SecretName, err)
	}
	if len(secret.Data[secretPassword]) == 0 {
		return "", fmt.Errorf("the Secret %s has no key %s; delete it, and a new one is made", SecretName, secretPassword)
	}
	return string(secret.Data[secretPassword]), nil
}

// Start runs the sink until ctx ends; events under way are then kept first. Every
// replica does.
func (d *DeadLetters) Start(ctx context.Context) error {
	defer d.conn.Close()
	server := &http.Server{
		Addr: d.options.Listen,
		Handler: beside(d.options.Taps, &Receiver{
			store: d.store, blame: blame{ways{d.options.Reader}}, memory: semaphore.NewWeighted(inMemory), now: time.Now, wait: patience,
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 20,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return fmt.Errorf("listen for dead letters on %s: %w", d.options.Listen, err)
	case <-ctx.Done():
	}
	// Less than the time that the pod has to end.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		klog.FromContext(ctx).Error(err, "Dead letters that were being kept may be lost")
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// beside gives taps, if there are any, what is sent to their paths.
func beside(listener *taps.Taps, sink http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if listener != nil && strings.HasPrefix(r.URL.Path, taps.Prefix) {
			listener.ServeHTTP(w, r)
			return
		}
		sink.ServeHTTP(w, r)
	})
}

// NeedLeaderElection tells a controller-runtime manager that every replica serves.
func (d *DeadLetters) NeedLeaderElection() bool { return false }

// List returns a page of letters.
func (d *DeadLetters) List(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.List, error) {
	return d.store.List(ctx, namespace, selection)
}

// Get returns one letter with its event.
func (d *DeadLetters) Get(ctx context.Context, namespace string, id uint64) (deadletter.Content, error) {
	return d.store.Get(ctx, namespace, id)
}

// Purge drops letters until ctx ends or all are gone.
func (d *DeadLetters) Purge(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.Purged, error) {
	return d.store.Purge(ctx, namespace, selection)
}

// Redrive sends letters again for RedriveTime at most.
func (d *DeadLetters) Redrive(ctx context.Context, namespace string, request deadletter.Redrive, report func(deadletter.Outcome)) (uint64, error) {
	return d.redriver.redrive(ctx, namespace, request, report)
}
