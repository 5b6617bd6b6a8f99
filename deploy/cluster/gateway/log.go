package gateway

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// proberLogger gives knative's prober, which wants zap, a way to write to slog.
// All of it is on the debug level: a probe that fails while a route changes is
// no error.
func proberLogger(log *slog.Logger) *zap.SugaredLogger {
	return zap.New(slogCore{log}).Sugar()
}

type slogCore struct{ log *slog.Logger }

// Enabled implements zapcore.Core.
func (c slogCore) Enabled(zapcore.Level) bool {
	return c.log.Enabled(context.Background(), slog.LevelDebug)
}

// With implements zapcore.Core. The prober writes plain messages.
func (c slogCore) With([]zapcore.Field) zapcore.Core { return c }

// Check implements zapcore.Core.
func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c slogCore) Write(e zapcore.Entry, _ []zapcore.Field) error {
	c.log.Debug(e.Message)
	return nil
}

// Sync implements zapcore.Core.
func (c slogCore) Sync() error { return nil }
