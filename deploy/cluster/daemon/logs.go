package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Log files of components are <state>/logs/<component>.log, at most maxLogMB
// each with one older file beside it.
const maxLogMB = 10

type logs struct {
	dir   string
	mu    sync.Mutex
	files map[string]*lumberjack.Logger
}

func openLogs(i instance.Instance) (*logs, error) {
	l := &logs{dir: i.Path("logs"), files: map[string]*lumberjack.Logger{}}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	// What does not say which component it is from is the process's own.
	klog.LogToStderr(false)
	klog.SetOutput(l.writer("kubernetes"))
	return l, nil
}

func (l *logs) writer(component string) io.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[component]; f != nil {
		return f
	}
	f := &lumberjack.Logger{Filename: filepath.Join(l.dir, component+".log"), MaxSize: maxLogMB, MaxBackups: 1}
	l.files[component] = f
	return f
}

func (l *logs) slog(component string) *slog.Logger {
	return slog.New(slog.NewTextHandler(l.writer(component), nil))
}

// context carries a logger that writes to the component's file; Kubernetes'
// components take their logger from the context.
func (l *logs) context(ctx context.Context, component string) context.Context {
	return klog.NewContext(ctx, textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(l.writer(component)))))
}

// LogFiles lists the components that have a log, and LogFile its path.
func LogFiles(i instance.Instance) []string {
	matches, _ := filepath.Glob(i.Path("logs", "*.log"))
	var names []string
	for _, m := range matches {
		name := strings.TrimSuffix(filepath.Base(m), ".log")
		if !strings.Contains(name, "-20") { // lumberjack's older files carry a time
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// LogFile is the path of a component's log.
func LogFile(i instance.Instance, component string) string {
	return i.Path("logs", component+".log")
}
