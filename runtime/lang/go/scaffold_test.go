package golang

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var httpFiles = []string{
	"knit_main/main.go", "knit_main/shim/deadline.go", "knit_main/shim/instance.go", "knit_main/shim/job.go", "knit_main/shim/recorder.go", "knit_main/shim/request.go", "knit_main/shim/server.go",
	"knit_main/shim/settings.go", "knit_main/shim/shim.go", "knit_main/shim/trace.go",
}

var eventFiles = []string{
	"knit_main/cloudevent/decode.go", "knit_main/cloudevent/encode.go",
	"knit_main/cloudevent/handler.go", "knit_main/cloudevent/status.go", "knit_main/cloudevent/validate.go",
}

func TestScaffoldFiles(t *testing.T) {
	cases := map[string]struct {
		function Function
		module   string
		want     []string
	}{
		"HTTP with a module":       {Function{Kind: HTTP}, "example.com/f", httpFiles},
		"HTTP without a module":    {Function{Kind: HTTP}, "", append([]string{"go.mod"}, httpFiles...)},
		"events with a module":     {Function{Kind: CloudEvent}, "example.com/f", slices.Concat(eventFiles, httpFiles)},
		"events without a module":  {Function{Kind: CloudEvent}, "", slices.Concat([]string{"go.mod", "go.sum"}, eventFiles, httpFiles)},
		"the SDK without a module": {Function{Kind: HTTP, ImportsSDK: true}, "", append([]string{"go.mod", "go.sum"}, httpFiles...)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files, err := Scaffold(c.function, c.module)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(files))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScaffoldCallsTheFunctionAsItIsDeclared(t *testing.T) {
	cases := map[string]struct {
		function Function
		want     string
	}{
		"HTTP":                  {Function{Kind: HTTP}, "shim.HTTP(user.Handle)"},
		"HTTP, context":         {Function{Kind: HTTP, TakesContext: true}, "shim.HTTPContext(user.Handle)"},
		"event":                 {Function{Kind: CloudEvent}, "user.Handle(e)\n\treturn nil, nil"},
		"event, context":        {Function{Kind: CloudEvent, TakesContext: true}, "user.Handle(ctx, e)\n\treturn nil, nil"},
		"event to error":        {Function{Kind: CloudEvent, ReturnsError: true}, "return nil, user.Handle(e)"},
		"event to event":        {Function{Kind: CloudEvent, ReturnsEvent: true}, "return user.Handle(e), nil"},
		"event to event, error": {Function{Kind: CloudEvent, ReturnsEvent: true, ReturnsError: true}, "return user.Handle(e)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files, err := Scaffold(c.function, "example.com/f")
			if err != nil {
				t.Fatal(err)
			}
			main := string(files["knit_main/main.go"])
			for _, want := range []string{c.want, `user "example.com/f"`, `"example.com/f/knit_main/shim"`} {
				if !strings.Contains(main, want) {
					t.Errorf("main.go lacks %q:\n%s", want, main)
				}
			}
		})
	}
}
