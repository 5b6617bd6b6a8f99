package cli_test

import (
	"testing"

	"github.com/knit-dev/knit/builder/cli"
	"github.com/knit-dev/knit/functions/cli/cmdline/cmdlinetest"
)

func TestMain(m *testing.M) { cmdlinetest.Main(m, cli.Commands) }

func TestScripts(t *testing.T) { cmdlinetest.Run(t) }
