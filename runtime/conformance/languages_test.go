package conformance

import (
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

// language is what the suite knows of one language.
type language struct {
	name    string
	prepare func(testing.TB, map[string][]byte) process.Program
	source  string // the fixtures' file, as stacks name it

	// In what languages rightly differ.

	// HTTP/2 without TLS. Python has no server of it that is good enough for
	// Knative to prefer it.
	http2 bool
	// A function that ignores its deadline is answered for. Go cannot end a
	// goroutine, and an answer of its own would race with the function's.
	answersForLate bool
	// What the log says of an error that an event function did not foresee. A
	// language without error values knows exceptions only.
	unforeseen string
}

var languages = []*language{
	{name: "go", prepare: process.Go, source: "handle.go", http2: true, unforeseen: "event not handled"},
	{name: "node", prepare: process.Node, source: "index.js", http2: true, answersForLate: true, unforeseen: "function panicked"},
	{name: "typescript", prepare: process.Node, source: "index.ts", http2: true, answersForLate: true, unforeseen: "function panicked"},
	{name: "python", prepare: process.Python, source: "func.py", answersForLate: true, unforeseen: "function panicked"},
}

// The fixtures that every language has.
const (
	httpFixture     = "http"
	eventFixture    = "event"
	instanceFixture = "instance"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait for timers of the contract more than they compute.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(process.Main(m))
}

// each runs a test for every language, all at once.
func each(t *testing.T, test func(*testing.T, *language)) {
	t.Helper()
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			test(t, l)
		})
	}
}

// programs are the fixtures that are ready to be started.
var programs struct {
	sync.Mutex
	made map[string]func(testing.TB) process.Program
}

// program makes a fixture ready, once.
func (l *language) program(t testing.TB, fixture string) process.Program {
	t.Helper()
	folder := filepath.Join("testdata", l.name, fixture)
	programs.Lock()
	make, ok := programs.made[folder]
	if !ok {
		make = once(func(t testing.TB) process.Program { return l.prepare(t, process.Files(t, os.DirFS(folder))) })
		if programs.made == nil {
			programs.made = map[string]func(testing.TB) process.Program{}
		}
		programs.made[folder] = make
	}
	programs.Unlock()
	return make(t)
}

// once remembers the program. When making it failed or was skipped, the next
// test tries again, and fails or is skipped for the same reason.
func once(prepare func(testing.TB) process.Program) func(testing.TB) process.Program {
	var lock sync.Mutex
	var program *process.Program
	return func(t testing.TB) process.Program {
		lock.Lock()
		defer lock.Unlock()
		if program == nil {
			made := prepare(t)
			program = &made
		}
		return *program
	}
}

// start runs a fixture. Unless env says otherwise, its end does not wait for
// requests that nobody sends.
func (l *language) start(t testing.TB, fixture string, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, l.program(t, fixture).Command(append([]string{"KNIT_DRAIN_DELAY=0s"}, env...)...))
}

// run runs a fixture that ends by itself.
func (l *language) run(t testing.TB, fixture string, env ...string) (code int, log string) {
	t.Helper()
	return process.RunToEnd(t, l.program(t, fixture).Command(append([]string{"KNIT_DRAIN_DELAY=0s"}, env...)...))
}
