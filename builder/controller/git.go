package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knit-dev/knit/builder/incluster"
	"github.com/knit-dev/knit/functions/api/gitsource"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/reconcile"
)

const (
	// secretPatience is how long a Build waits for its Secret, which may come
	// with the same `kubectl apply` a moment later.
	secretPatience = time.Minute
	// secretDelay is how often it looks meanwhile. Secrets are not watched: that
	// would take the right to read all of them.
	secretDelay = 2 * time.Second
)

// reasonSecret is the reason of a Build whose git login cannot be used.
const reasonSecret = "SecretNotUsable"

// knownHostsKey is the one of a Secret that git tools use for SSH servers' keys.
const knownHostsKey = "known_hosts"

// gitLogin reads the login of a Build's source, nil when it has none. An outcome
// says that the Build waits or has failed.
func (r *Reconciler) gitLogin(ctx context.Context, build *v1alpha1.Build, platform incluster.Platform) (login map[string][]byte, outcome error) {
	git := build.Spec.Source.Git
	if git == nil || git.SecretName == "" || build.Spec.Rebase != nil {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: build.Namespace, Name: git.SecretName}
	var secret corev1.Secret
	// Past the cache, which would list and watch the Secrets of everybody.
	err := r.live.Get(ctx, key, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, r.awaitSecret(build, fmt.Sprintf("Secret %s with the git login is not there; create it", key))
	case apierrors.IsForbidden(err):
		return nil, r.awaitSecret(build, fmt.Sprintf("Knit may not read Secret %s; allow it with `kubectl -n %s create role knit-git --verb=get --resource=secrets --resource-name=%s` and `kubectl -n %s create rolebinding knit-git --role=knit-git --serviceaccount=%s:knit-controlplane`",
			key, key.Namespace, key.Name, key.Namespace, r.options.SystemNamespace))
	case err != nil:
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	}
	login, err = selectLogin(&secret, git, platform.GitKnownHosts)
	if err != nil {
		err = fmt.Errorf("Secret %s: %w", key, err)
		r.fail(build, reasonSecret, err.Error())
		return nil, reconcile.Terminal(err)
	}
	return login, nil
}

func (r *Reconciler) awaitSecret(build *v1alpha1.Build, message string) error {
	if r.now().Sub(build.CreationTimestamp.Time) < secretPatience {
		return r.wait(build, reasonWaiting, message, secretDelay)
	}
	message += "; then delete this Build, to have it made again"
	r.fail(build, reasonSecret, message)
	return reconcile.Terminalf("%s", message)
}

// selectLogin decides what of a Secret a build gets, if anything: no more than
// the keys of its type, and only for a server that the Secret itself names.
func selectLogin(secret *corev1.Secret, git *v1alpha1.GitSource, platformHosts string) (map[string][]byte, error) {
	address, err := gitsource.Parse(git.URL)
	if err != nil {
		return nil, err
	}
	annotation := secret.Annotations[gitsource.HostsAnnotation]
	hosts, err := gitsource.ParseCredentialHosts(annotation)
	if err != nil {
		return nil, err
	}
	if !hosts.Allow(address) {
		return nil, fmt.Errorf("its annotation %s is %q and does not name %s, which source.git.url leads to", gitsource.HostsAnnotation, annotation, address.Endpoint())
	}
	keys, required := []string{}, ""
	switch {
	case secret.Type == corev1.SecretTypeBasicAuth && address.Scheme == gitsource.HTTPS:
		keys, required = []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey, "ca.crt"}, corev1.BasicAuthPasswordKey
	case secret.Type == corev1.SecretTypeSSHAuth && address.Scheme == gitsource.SSH:
		keys, required = []string{corev1.SSHAuthPrivateKey, knownHostsKey}, corev1.SSHAuthPrivateKey
	default:
		return nil, fmt.Errorf("it has the type %q; https needs %s, ssh needs %s", secret.Type, corev1.SecretTypeBasicAuth, corev1.SecretTypeSSHAuth)
	}
	login := maps.Clone(secret.Data)
	maps.DeleteFunc(login, func(key string, value []byte) bool { return len(value) == 0 || !slices.Contains(keys, key) })
	if len(login[required]) == 0 {
		return nil, fmt.Errorf("it has no %q", required)
	}
	if address.Scheme == gitsource.SSH && len(login[knownHostsKey]) == 0 {
		if platformHosts == "" {
			return nil, fmt.Errorf("it has no %q, by which the server is recognised; add the line that `ssh-keyscan %s` prints after comparing it with what the server's owner publishes", knownHostsKey, address.Host)
		}
		login[knownHostsKey] = []byte(platformHosts)
	}
	login["hosts"] = []byte(annotation)
	return login, nil
}

// giveLogin makes the Secret that the pod's fetch phase waits for. It comes
// after the pod, which owns it: nothing is left when the process dies between.
func (r *Reconciler) giveLogin(ctx context.Context, pod *corev1.Pod, login map[string][]byte) error {
	if login == nil {
		return nil
	}
	secret := incluster.MakeGitSecret(pod, login)
	if err := r.client.Create(ctx, secret, reconcile.FieldOwner); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create Secret %s/%s with the git login: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// ensureLogin makes up for a process that died after it had created the pod.
func (r *Reconciler) ensureLogin(ctx context.Context, build *v1alpha1.Build, pod *corev1.Pod) error {
	git := build.Spec.Source.Git
	status := containerStatus(pod, v1alpha1.PhaseFetch)
	begun := status != nil && (status.State.Running != nil || status.State.Terminated != nil)
	if git == nil || git.SecretName == "" || begun || podEnded(pod) || pod.DeletionTimestamp != nil {
		return nil
	}
	s, err := r.settings(ctx)
	if err != nil {
		return err
	}
	login, outcome := r.gitLogin(ctx, build, s.cluster)
	if outcome != nil {
		return outcome
	}
	return r.giveLogin(ctx, pod, login)
}

// observeSource reads which commit was fetched. It comes from our own program,
// and is checked all the same: it talked to a server of the tenant's choice.
func observeSource(build *v1alpha1.Build, pod *corev1.Pod) {
	status := containerStatus(pod, v1alpha1.PhaseFetch)
	if build.Spec.Source.Git == nil || build.Status.Revision != "" || status == nil || status.State.Terminated == nil || status.State.Terminated.ExitCode != 0 {
		return
	}
	var outcome gitsource.Outcome
	if err := json.Unmarshal([]byte(status.State.Terminated.Message), &outcome); err != nil {
		return
	}
	digest, err := v1.NewHash(outcome.Digest)
	if err != nil || len(outcome.Revision) != 40 || strings.Trim(outcome.Revision, "0123456789abcdef") != "" {
		return
	}
	build.Status.Revision, build.Status.SourceDigest = outcome.Revision, digest.String()
}
