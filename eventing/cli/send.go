package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxAnswer is how much of a broker's complaint is shown, in bytes.
const maxAnswer = 4 << 10

// sending is one run of `knit event send`.
type sending struct {
	env     *cmdline.Env
	broker  string
	data    string
	file    string
	event   cmdline.EventFlags
	timeout time.Duration
}

func sendCommand(env *cmdline.Env) *cobra.Command {
	s := &sending{env: env}
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send a CloudEvent to a broker",
		Long: "Send a CloudEvent to a broker.\n\n" +
			"Brokers listen inside of the cluster only; the event goes through the API server's proxy, so that a\n" +
			"kubeconfig is all it needs. Its user needs the right to services/proxy where the broker's ingress runs.",
		Example: "  knit event send --type com.example.greeting --source /me --data '{\"name\":\"Ada\"}'\n" +
			"  cat order.json | knit event send --broker orders --type com.example.order --file -",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), s.timeout)
			defer cancel()
			return s.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.broker, "broker", "default", "broker of the namespace")
	flags.StringVarP(&s.data, "data", "d", "", "data of the event")
	flags.StringVarP(&s.file, "file", "f", "", "file with the data; - is standard input")
	flags.DurationVar(&s.timeout, "timeout", 30*time.Second, "give up after this long")
	s.event.Add(flags, "")
	cmd.MarkFlagsMutuallyExclusive("data", "file")
	return cmd
}

func (s *sending) run(ctx context.Context) error {
	data, err := s.body()
	if err != nil {
		return err
	}
	event, err := s.event.Event(data, s.env.Now())
	if err != nil {
		return err
	}
	cluster, err := s.env.Connect(newScheme())
	if err != nil {
		return err
	}
	address, err := s.address(ctx, cluster)
	if err != nil {
		return err
	}
	target, err := cluster.URL(proxyPath(address))
	if err != nil {
		return err
	}
	request, err := cmdline.EventRequest(ctx, target, event)
	if err != nil {
		return err
	}
	response, err := cluster.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("send to broker %s/%s: %w", cluster.Namespace, s.broker, err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return s.refused(response, cluster.Namespace, address)
	}
	fmt.Fprintf(s.env.Out, "event %s sent to broker %s/%s\n", event.ID(), cluster.Namespace, s.broker)
	return nil
}

func (s *sending) body() (io.Reader, error) {
	switch s.file {
	case "":
		if s.data == "" {
			return nil, nil
		}
		return strings.NewReader(s.data), nil
	case "-":
		return s.env.In, nil
	}
	info, err := os.Stat(s.file)
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the data: %w", err))
	}
	if info.Size() > cmdline.MaxEvent {
		return nil, cmdline.Usagef("%s is larger than %s: put it somewhere and send its address", s.file, cmdline.Bytes(cmdline.MaxEvent))
	}
	raw, err := os.ReadFile(s.file)
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read the data: %w", err))
	}
	return strings.NewReader(string(raw)), nil
}

// address is where the broker takes events inside of the cluster.
func (s *sending) address(ctx context.Context, c *cmdline.Cluster) (*apis.URL, error) {
	var broker eventingv1.Broker
	err := c.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: s.broker}, &broker)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("read broker %s/%s: %w", c.Namespace, s.broker, err)
		return nil, cmdline.Advise(err, "deploy a function with events, which makes the default broker, or see `knit broker list -n %s`", c.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("read broker %s/%s: %w", c.Namespace, s.broker, err)
	}
	if broker.Status.Address == nil || broker.Status.Address.URL == nil {
		err := fmt.Errorf("broker %s/%s has no address yet", c.Namespace, s.broker)
		return nil, cmdline.Advise(err, "see why with `knit broker describe %s -n %s`", s.broker, c.Namespace)
	}
	if _, _, ok := serviceOf(broker.Status.Address.URL); !ok {
		err := fmt.Errorf("broker %s/%s is at %s, which is no service of this cluster", c.Namespace, s.broker, broker.Status.Address.URL)
		return nil, cmdline.Advise(err, "send the event there with curl or an SDK")
	}
	return broker.Status.Address.URL, nil
}

// serviceOf reads the service and its namespace from a cluster-local URL:
// service.namespace.svc[.cluster.local].
func serviceOf(u *apis.URL) (service, namespace string, ok bool) {
	parts := strings.Split(u.URL().Hostname(), ".")
	if len(parts) < 3 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// proxyPath is the path by which the API server passes a request on to a
// cluster-local URL.
func proxyPath(u *apis.URL) string {
	service, namespace, _ := serviceOf(u)
	port := u.URL().Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	name := url.PathEscape(fmt.Sprintf("%s:%s:%s", u.Scheme, service, port))
	return fmt.Sprintf("/api/v1/namespaces/%s/services/%s/proxy%s", namespace, name, u.Path)
}

// refused says why an event was not taken.
func (s *sending) refused(response *http.Response, namespace string, address *apis.URL) error {
	service, serviceNamespace, _ := serviceOf(address)
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		err := fmt.Errorf("send to broker %s/%s: %w", namespace, s.broker, cmdline.StatusError(response))
		if response.StatusCode == http.StatusForbidden {
			return cmdline.Advise(err, "ask for the right to create services/proxy of %s in namespace %s, or post the event to %s from inside of the cluster", service, serviceNamespace, address)
		}
		return cmdline.Advise(err, "see whether the broker's ingress runs: `kubectl get pods -n %s`", serviceNamespace)
	}
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	err := fmt.Errorf("broker %s/%s answered %s: %s", namespace, s.broker, response.Status, strings.TrimSpace(string(answer)))
	return cmdline.Advise(err, "see `knit broker describe %s -n %s`", s.broker, namespace)
}
