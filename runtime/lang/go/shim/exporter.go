//go:build go1.24

package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const (
	// flushTimeout bounds what the end of the process waits for a collector.
	flushTimeout = 5 * time.Second
	// silence is how long failures of a collector are not logged again.
	silence = time.Minute
)

// exporter sends spans and metrics to the collector, from a goroutine of its
// own, so that no request ever waits for it.
type exporter struct {
	settings telemetrySettings
	spans    *spanQueue
	metrics  *metrics
	log      *slog.Logger
	client   *http.Client
	logged   time.Time          // of the last failure that was logged
	stop     chan struct{}      // closed: send nothing further
	cancel   context.CancelFunc // breaks off the export under way
	ended    chan struct{}
}

func startExporter(settings telemetrySettings, spans *spanQueue, m *metrics, log *slog.Logger) *exporter {
	ctx, cancel := context.WithCancel(context.Background())
	e := &exporter{
		settings: settings, spans: spans, metrics: m, log: log,
		stop: make(chan struct{}), cancel: cancel, ended: make(chan struct{}),
		client: &http.Client{
			Timeout:       settings.timeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go e.run(ctx)
	return e
}

func (e *exporter) run(ctx context.Context) {
	defer close(e.ended)
	spans, metrics := time.NewTicker(e.settings.delay), time.NewTicker(e.settings.interval)
	defer spans.Stop()
	defer metrics.Stop()
	var ready chan struct{}
	if e.spans != nil {
		ready = e.spans.ready
	}
	for {
		select {
		case <-e.stop:
			return
		case <-ready:
			e.report(e.sendSpans(ctx))
		case <-spans.C:
			e.report(e.sendSpans(ctx))
		case <-metrics.C:
			e.report(e.sendMetrics(ctx))
		}
	}
}

// shutdown lets the export under way end and sends what is left, before ctx ends;
// it says what nobody got.
func (e *exporter) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, e.cancel)()
	close(e.stop)
	<-e.ended
	err := errors.Join(e.sendSpans(ctx), e.sendMetrics(ctx))
	waiting, lost := 0, 0
	if e.spans != nil {
		waiting, lost = e.spans.counts()
	}
	if err != nil || waiting+lost > 0 {
		e.log.Warn("telemetry lost", "spans", waiting+lost, "error", fmt.Sprint(err))
	}
}

// sendSpans sends all that wait. A batch that the collector may take later stays
// at the head of the queue; one that it refuses is lost.
func (e *exporter) sendSpans(ctx context.Context) error {
	if e.spans == nil {
		return nil
	}
	for {
		batch := e.spans.batch()
		if len(batch) == 0 {
			return nil
		}
		body, err := encodeSpans(e.settings.resource, batch)
		if err != nil {
			e.spans.remove(len(batch), true)
			return fmt.Errorf("encode spans: %w", err)
		}
		again, err := e.post(ctx, e.settings.tracesURL, body)
		if err != nil && again {
			return err
		}
		e.spans.remove(len(batch), err != nil)
		if err != nil {
			return err
		}
	}
}

func (e *exporter) sendMetrics(ctx context.Context) error {
	if e.metrics == nil {
		return nil
	}
	body, err := encodeMetrics(e.settings.resource, e.metrics)
	if err != nil {
		return fmt.Errorf("encode metrics: %w", err)
	}
	_, err = e.post(ctx, e.settings.metricsURL, body)
	return err
}

// post tells whether a failure may pass, as the specification of OTLP has it.
func (e *exporter) post(ctx context.Context, url string, body []byte) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header = e.settings.headers.Clone()
	r.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(r)
	if err != nil {
		return true, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("the collector at %s answered %s", url, resp.Status)
}

func (e *exporter) report(err error) {
	if err == nil || errors.Is(err, context.Canceled) || time.Since(e.logged) < silence {
		return
	}
	e.logged = time.Now()
	waiting, lost := 0, 0
	if e.spans != nil {
		waiting, lost = e.spans.counts()
	}
	e.log.Warn("telemetry not delivered", "error", err.Error(), "waiting", waiting, "lost", lost)
}
