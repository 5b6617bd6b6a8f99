package python

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// folder writes files given as name, content, name, content …
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	asgi     = "async def handle(scope, receive, send):\n    pass\n"
	instance = "def new():\n    return F()\n\nclass F:\n    async def handle(self, scope, receive, send):\n"
)

func TestDetectFindsTheFunction(t *testing.T) {
	cases := map[string]struct {
		files []string
		want  Function
	}{
		"ASGI":                         {[]string{"func.py", asgi}, Function{"func", "handle", HTTP, Position{"func.py", 1}}},
		"an instance":                  {[]string{"func.py", instance + "        pass\n"}, Function{"func", "new", HTTP, Position{"func.py", 1}}},
		"an instance for events":       {[]string{"func.py", instance + "        e = scope['event']\n"}, Function{"func", "new", CloudEvent, Position{"func.py", 1}}},
		"new before handle":            {[]string{"func.py", asgi + instance + "        pass\n"}, Function{"func", "new", HTTP, Position{"func.py", 3}}},
		"a package":                    {[]string{"function/__init__.py", "from .func import new\n", "function/func.py", instance + "        scope.get(\"event\")\n"}, Function{"function", "new", CloudEvent, Position{"function/__init__.py", 1}}},
		"a package that exports none":  {[]string{"function/__init__.py", "", "function/func.py", asgi}, Function{"function.func", "handle", HTTP, Position{"function/func.py", 1}}},
		"an import under another name": {[]string{"func.py", "from lib.deep import (\n    x,\n    serve as handle,\n)\n", "lib/deep.py", "async def serve(event: int):\n    pass\n"}, Function{"func", "handle", CloudEvent, Position{"func.py", 1}}},
		"an import from outside":       {[]string{"func.py", "from elsewhere import handle\n"}, Function{"func", "handle", HTTP, Position{"func.py", 1}}},
		"main.py":                      {[]string{"main.py", "def main():\n    pass\n" + asgi}, Function{"main", "handle", HTTP, Position{"main.py", 3}}},
		"app.py, with a main.py":       {[]string{"main.py", "print('script')\n", "app.py", asgi}, Function{"app", "handle", HTTP, Position{"app.py", 1}}},
		"an event":                     {[]string{"func.py", "def handle(event):\n    pass\n"}, Function{"func", "handle", CloudEvent, Position{"func.py", 1}}},
		"an event by its annotation":   {[]string{"func.py", "def handle(e: 'CloudEvent', *, k=1):\n    pass\n"}, Function{"func", "handle", CloudEvent, Position{"func.py", 1}}},
		"a request":                    {[]string{"func.py", "def handle(request: dict[str, int], more=(1, 2)):\n    pass\n"}, Function{"func", "handle", HTTP, Position{"func.py", 1}}},
		"a main with a context":        {[]string{"func.py", "from parliament import Context\ndef main(context: Context):\n    pass\n"}, Function{"func", "main", HTTP, Position{"func.py", 2}}},
		"a decorated function":         {[]string{"func.py", "@wrap(1)\ndef handle(a, b):\n    pass\n"}, Function{"func", "handle", HTTP, Position{"func.py", 2}}},
		"a value":                      {[]string{"func.py", "handle: object = make()\n"}, Function{"func", "handle", HTTP, Position{"func.py", 1}}},
		"func.yaml decides":            {[]string{"func.py", asgi, "func.yaml", "name: f\ninvoke: \"cloudevent\" # yes\n"}, Function{"func", "handle", CloudEvent, Position{"func.py", 1}}},
		"not in strings and comments": {[]string{"func.py", "\ufeff'''\ndef handle(a, b):\n'''\n# def handle():\nx = \"\\\"\" r'\\\\' f'''\nclass ''' ; y = (\n'def new(')\r\n" + asgi},
			Function{"func", "handle", HTTP, Position{"func.py", 8}}},
		"not the event of something else": {[]string{"func.py", "async def handle(scope, receive, send):\n    data['event']\n"}, Function{"func", "handle", HTTP, Position{"func.py", 1}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Detect(folder(t, c.files...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetectSaysWhatIsWrongAndWhere(t *testing.T) {
	cases := map[string]struct {
		files []string
		want  []string
	}{
		"no function":               {[]string{"func.py", "x = 1\n", "app.py", ""}, []string{"func.py, app.py: no function new or handle", "async def handle(scope, receive, send)"}},
		"handle compared, not made": {[]string{"func.py", "handle == 1\n"}, []string{"no function"}},
		"a handle of a class":       {[]string{"func.py", "class F:\n    def handle(self, event): pass\n"}, []string{"no function"}},
		"another file":              {[]string{"hello.py", asgi}, []string{"hello.py: a Python project without a function", "func.py"}},
		"requirements alone":        {[]string{"requirements.txt", ""}, []string{"requirements.txt"}},
		"a plain def for ASGI":      {[]string{"func.py", "\ndef handle(scope, receive, send):\n    pass\n"}, []string{"func.py:2: def handle(scope, receive, send) must be async def"}},
		"two parameters":            {[]string{"func.py", "def handle(a, b): pass"}, []string{"func.py:1: def handle(a, b)", "use one of"}},
		"a parameter of any name":   {[]string{"func.py", "def handle(x): pass"}, []string{"func.py:1: def handle(x): name the parameter event or request"}},
		"new with parameters":       {[]string{"func.py", "def new(cfg): pass"}, []string{"func.py:1: new(cfg): new takes no parameters"}},
		"a method that cannot be":   {[]string{"func.py", "def new():\n  return F()\nclass F:\n  def handle(self, a, b): pass"}, []string{"func.py:4: def handle(a, b)"}},
		"an import of nothing":      {[]string{"function/__init__.py", "from .func import new\n", "function/func.py", "x = 1\n"}, []string{"function/__init__.py:1: function/func.py has no new to import"}},
		"an import in a circle":     {[]string{"func.py", "from func import handle\nx = [\n"}, nil},
		"a string without end":      {[]string{"func.py", "x = 1\ny = '''\ndef handle(event): pass\n"}, []string{"func.py: line 2: the string that begins here is not closed"}},
		"an unknown invoke":         {[]string{"func.py", asgi, "func.yaml", "invoke: grpc\n"}, []string{"func.yaml: invoke: grpc"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Detect(folder(t, c.files...))
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestDetectTellsOtherLanguagesApart(t *testing.T) {
	dir := folder(t, "index.js", "", "tools/func.py", asgi)
	if _, err := Detect(dir); !errors.Is(err, ErrNoPython) {
		t.Errorf("got %v, want ErrNoPython", err)
	}
}

// FuzzScan: no source makes the scanner fail in another way than with an error.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{asgi, instance, "x = '''", "(\\", "\\\n\"\\", "def handle(", "async", "from . import (", "@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		statements, err := scan(content)
		if err != nil {
			return
		}
		s := source{"f.py", statements}
		for _, name := range entries {
			s.find(name)
			s.method(name)
			s.usesEvent(name)
		}
	})
}

// TestTemplatesAreFunctions and hold everything that a new project needs.
func TestTemplatesAreFunctions(t *testing.T) {
	for name, kind := range map[string]Kind{"http": HTTP, "event": CloudEvent} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, Templates()); err != nil {
			t.Fatal(err)
		}
		got, err := Detect(filepath.Join(dir, name))
		if err != nil || got.Kind != kind {
			t.Errorf("template %s: %+v %v", name, got, err)
		}
		for _, file := range []string{"knit.yaml", "requirements.txt", "test_func.py", ".gitignore"} {
			if _, err := os.Stat(filepath.Join(dir, name, file)); err != nil {
				t.Errorf("template %s: %v", name, err)
			}
		}
	}
}
