package buildpacks_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goModules = "../../runtime/lang/go/modules/sdk/"

// sdkFunctions answer with the function's name and the request's id, by the SDK.
var sdkFunctions = map[string]map[string]string{
	"go": {"f.go": `package function

import (
	"net/http"

	"github.com/knit-dev/knit/sdk"
)

func Handle(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(sdk.Myself().Function + " " + sdk.RequestID(r.Context())))
}
`},
	"commonjs": {"index.js": `const { myself, requestId } = require('@knit-dev/sdk');

exports.handle = (context) => myself().function + ' ' + requestId(context);
`},
	"typescript": {"package.json": `{"type": "module", "main": "index.ts"}`, "index.ts": `import { myself, requestId, type Context } from '@knit-dev/sdk';

export const handle = (context: Context): string => myself().function + ' ' + requestId(context);
`},
	"python": {"func.py": `import knit


def handle(request):
    return knit.myself().function + " " + knit.request_id()
`},
}

// testSDK: every language finds Knit's SDK without a network, and Go also by a
// module of the function's own, with its sum.
func (b builderFixture) testSDK(t *testing.T) {
	own := map[string]string{"f.go": sdkFunctions["go"]["f.go"]}
	for name, file := range map[string]string{"go.mod": goModules + "go.mod.txt", "go.sum": goModules + "go.sum.txt"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		own[name] = strings.Replace(string(content), "module function\n", "module example.com/orders\n", 1)
	}
	cases := map[string]map[string]string{"go-module": own}
	for name, files := range sdkFunctions {
		cases[name] = files
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			source := t.TempDir()
			for file, content := range files {
				writeFile(t, filepath.Join(source, file), []byte(content))
			}
			f := start(t, b.mustBuild(t, "sdk-"+name, source, nil))
			if resp, body := f.post(t, "", "X-Request-Id: r-1"); resp.StatusCode != http.StatusOK || body != " r-1" {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		})
	}
}
