package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
)

// statusReport is what status prints.
type statusReport struct {
	Name       string             `json:"name"`
	PID        int                `json:"pid"`
	Ready      bool               `json:"ready"`
	Kubeconfig string             `json:"kubeconfig"`
	API        string             `json:"api"`
	Registry   string             `json:"registry"`
	Components []daemon.Component `json:"components"`
}

func newStatus(o *options) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of every component",
		Long:  "Show the state of every component. The exit code is 0 when all are ready, 1 when one is not, and 3 when the cluster does not run.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			s, err := daemon.Query(c.Context(), i)
			if err != nil {
				return err
			}
			r := statusReport{Name: i.Name, PID: s.PID, Kubeconfig: i.Kubeconfig(), API: i.URL(), Registry: i.Registry(), Components: s.Components}
			if i.Knative {
				parts, err := knativeState(c.Context(), i)
				if err != nil {
					return err
				}
				r.Components = append(r.Components, parts...)
			}
			r.Ready = daemon.Status{Components: r.Components}.Ready()
			if err := r.print(output); err != nil {
				return err
			}
			if !r.Ready {
				return fmt.Errorf("cluster %q: not ready: %v; see: knit cluster logs", i.Name, daemon.Status{Components: r.Components}.Pending())
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json, yaml, or a table when empty")
	return c
}

func (r statusReport) print(output string) error {
	switch output {
	case "json":
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "yaml":
		data, err := yaml.Marshal(r)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(data)
		return err
	case "":
	default:
		return fmt.Errorf("-o %s: must be json or yaml (%w)", output, errUsage)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tSTATE\tSINCE\tERROR")
	for _, c := range r.Components {
		since := ""
		if !c.Since.IsZero() {
			since = time.Since(c.Since).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Name, c.State, since, c.Error)
	}
	return w.Flush()
}
