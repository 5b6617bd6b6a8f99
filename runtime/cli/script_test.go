package cli

import (
	"testing"

	"github.com/knit-dev/knit/functions/cli/cmdline/cmdlinetest"
)

func TestMain(m *testing.M) { cmdlinetest.Main(m, Commands) }

func TestScripts(t *testing.T) { cmdlinetest.Run(t) }
