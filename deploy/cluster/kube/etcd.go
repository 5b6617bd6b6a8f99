package kube

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// StartEtcd starts the store and returns when it serves; stop ends it at once:
// every acknowledged write is already on disk, and waiting for the watches of
// components that are ending too would only cost time.
func StartEtcd(ctx context.Context, c Config, log io.Writer) (stop func(), failed <-chan error, err error) {
	cfg := embed.NewConfig()
	cfg.Dir = c.Instance.Path("etcd")
	cfg.Name = instance.NodeName
	client := url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", instance.EtcdPort)}
	peer := url.URL{Scheme: "https", Host: "127.0.0.1:2380"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	tls := transport.TLSInfo{
		CertFile: c.Certs.EtcdServer.Cert, KeyFile: c.Certs.EtcdServer.Key,
		TrustedCAFile: c.Certs.CA.CertFile(), ClientCertAuth: true,
	}
	cfg.ClientTLSInfo, cfg.PeerTLSInfo = tls, tls
	// One node, few objects: a short raft log in memory and small snapshots.
	cfg.SnapshotCount = 2000
	cfg.SnapshotCatchUpEntries = 500
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "10m"
	cfg.QuotaBackendBytes = 1 << 30
	cfg.WarningApplyDuration, cfg.WarningUnaryRequestDuration = time.Second, time.Second
	cfg.Logger = "zap"
	cfg.LogLevel = "warn"
	encoder := zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig())
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(zapcore.NewCore(encoder, zapcore.AddSync(log), zap.WarnLevel)))

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e.Server.HardStop, e.Err(), nil
	case err := <-e.Err():
		e.Close()
		return nil, nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	case <-time.After(time.Minute):
		e.Close()
		return nil, nil, fmt.Errorf("start etcd in %s: not ready after a minute; is the disk very slow or full?", cfg.Dir)
	case <-ctx.Done():
		e.Close()
		return nil, nil, ctx.Err()
	}
}
