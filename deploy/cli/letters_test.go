package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/knit-dev/knit/deploy/manifests"
)

// NATS reads its configuration only when its pod starts, and takes a misspelt
// key without a word.
func TestNATSReadsItsConfiguration(t *testing.T) {
	t.Setenv("POD_NAME", "knit-dead-letters-0")
	t.Setenv("KNIT_PASSWORD", "k234ABC")
	routes := map[string]int{"embedded": 0, "cluster": 3, "istio": 3}
	for _, overlay := range manifests.Overlays {
		t.Run(overlay, func(t *testing.T) {
			_, objects := deploymentOf(t, overlay)
			file := filepath.Join(t.TempDir(), "nats.conf")
			if err := os.WriteFile(file, []byte(natsConfig(t, objects)), 0o600); err != nil {
				t.Fatal(err)
			}
			o := &server.Options{CheckConfig: true}
			if err := o.ProcessConfigFile(file); err != nil {
				t.Fatal(err)
			}
			if !o.JetStream || o.StoreDir != "/data" || o.JetStreamMaxStore == 0 || o.MaxPayload != 8<<20 && o.MaxPayload != 8_000_000 {
				t.Errorf("JetStream %v in %q, at most %d bytes, payload %d", o.JetStream, o.StoreDir, o.JetStreamMaxStore, o.MaxPayload)
			}
			if len(o.Users) != 1 || o.Users[0].Username != "knit" || o.Users[0].Password != "k234ABC" {
				t.Errorf("users = %+v, want knit alone", o.Users)
			}
			if len(o.Routes) != routes[overlay] || o.ServerName != "knit-dead-letters-0" {
				t.Errorf("%s has %d routes, want %d", o.ServerName, len(o.Routes), routes[overlay])
			}
		})
	}
}

func natsConfig(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == "ConfigMap" && object.GetName() == lettersName {
			text, _, _ := unstructured.NestedString(object.Object, "data", "nats.conf")
			return text
		}
	}
	t.Fatal("there is no configuration of NATS")
	return ""
}
