package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

func newKubeconfig(o *options) *cobra.Command {
	var merge bool
	c := &cobra.Command{
		Use:               "kubeconfig",
		Short:             "Print the administrator's kubeconfig, or add it to yours",
		Args:              cobra.NoArgs,
		ValidArgsFunction: completeNothing,
		RunE: func(*cobra.Command, []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			if merge {
				return mergeInto(i)
			}
			data, err := os.ReadFile(i.Kubeconfig())
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w; make it with: knit cluster up", err)
			}
			_, err = os.Stdout.Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&merge, "merge", false, "add the cluster's context to $KUBECONFIG or ~/.kube/config and select it")
	return c
}

// mergeInto adds cluster, user and context, all named like the instance, to
// the user's kubeconfig and keeps everything else in it.
func mergeInto(i instance.Instance) error {
	own, err := clientcmd.LoadFromFile(i.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig of the cluster: %w", err)
	}
	access := clientcmd.NewDefaultPathOptions()
	config, err := access.GetStartingConfig()
	if err != nil {
		return fmt.Errorf("read your kubeconfig: %w", err)
	}
	if c := config.Clusters[i.Name]; c != nil && c.Server != i.URL() {
		return fmt.Errorf("your kubeconfig %s has another cluster %q (%s): rename it first with: kubectl config rename-context", access.GetDefaultFilename(), i.Name, c.Server)
	}
	config.Clusters[i.Name], config.AuthInfos[i.Name], config.Contexts[i.Name] = own.Clusters[i.Name], own.AuthInfos[i.Name], own.Contexts[i.Name]
	config.CurrentContext = i.Name
	if err := clientcmd.ModifyConfig(access, *config, true); err != nil {
		return fmt.Errorf("write your kubeconfig: %w", err)
	}
	fmt.Fprintf(os.Stderr, "context %q added to %s\n", i.Name, access.GetDefaultFilename())
	return nil
}

// unmerge removes what mergeInto added, if it is still this cluster's.
func unmerge(i instance.Instance) error {
	access := clientcmd.NewDefaultPathOptions()
	config, err := access.GetStartingConfig()
	if err != nil || !mergedHere(config, i) {
		return nil
	}
	delete(config.Clusters, i.Name)
	delete(config.AuthInfos, i.Name)
	delete(config.Contexts, i.Name)
	if config.CurrentContext == i.Name {
		config.CurrentContext = ""
	}
	if err := clientcmd.ModifyConfig(access, *config, true); err != nil {
		return fmt.Errorf("remove context %q from your kubeconfig: %w", i.Name, err)
	}
	return nil
}

func mergedHere(config *clientcmdapi.Config, i instance.Instance) bool {
	c := config.Clusters[i.Name]
	if c == nil || c.Server != i.URL() {
		return false
	}
	own, err := clientcmd.LoadFromFile(i.Kubeconfig())
	return err == nil && string(own.Clusters[i.Name].CertificateAuthorityData) == string(c.CertificateAuthorityData)
}
