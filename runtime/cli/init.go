package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// beginning is one run of `knit init`.
type beginning struct {
	env *cmdline.Env

	folder         string
	language, kind string
	name           string
	from           string
	list           bool
	format         cmdline.Format
}

func initCommand(env *cmdline.Env) *cobra.Command {
	b := &beginning{env: env, folder: "."}
	cmd := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Begin a function from a template",
		Long: "Begin a function: write a project into FOLDER (the present one when left out), ready for `knit deploy`.\n\n" +
			"The project comes from a template, or with --from from a folder or a git repository. No file that is there is overwritten.",
		Example: "  knit init --list\n  knit init hello --language python\n  knit init orders --language go --template event\n" +
			"  knit init shop --from https://git.example.com/templates.git#v2",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				b.folder = args[0]
			}
			return b.run(cmd.Context())
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&b.language, "language", "l", "go", "go, node, python or typescript")
	flags.StringVarP(&b.kind, "template", "t", "http", "http or event")
	flags.StringVar(&b.name, "name", "", "name of the function (default: the folder's)")
	flags.StringVar(&b.from, "from", "", "folder, or URL of a git repository (#REVISION behind it), to take the project from")
	flags.BoolVar(&b.list, "list", false, "list the templates")
	b.format.AddOutput(cmd)
	_ = cmd.RegisterFlagCompletionFunc("language", cobra.FixedCompletions([]string{"go", "node", "python", "typescript"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("template", cobra.FixedCompletions([]string{"event", "http"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.MarkFlagsMutuallyExclusive("from", "language")
	cmd.MarkFlagsMutuallyExclusive("from", "template")
	cmd.MarkFlagsMutuallyExclusive("from", "name")
	return cmd
}

func (b *beginning) run(ctx context.Context) error {
	if b.list {
		return b.listTemplates()
	}
	if b.from != "" {
		return b.copyProject(ctx)
	}
	chosen, err := find(b.language, b.kind)
	if err != nil {
		return err
	}
	if err := b.chooseName(); err != nil {
		return err
	}
	files, err := b.render(chosen)
	if err != nil {
		return err
	}
	return b.write(files)
}

func (b *beginning) listTemplates() error {
	all, err := templates()
	if err != nil {
		return err
	}
	if done, err := cmdline.PrintValue(b.env.Out, b.format, all); done {
		return err
	}
	table := cmdline.Table{Columns: []string{"LANGUAGE", "TEMPLATE", "DESCRIPTION"}}
	for _, t := range all {
		if b.format == cmdline.Name {
			fmt.Fprintf(b.env.Out, "%s/%s\n", t.Language, t.Name)
			continue
		}
		table.Rows = append(table.Rows, []string{t.Language, t.Name, t.Description})
	}
	if b.format == cmdline.Name {
		return nil
	}
	return table.Write(b.env.Out, b.format)
}

// functionName is what the API takes as the name of a Function.
var functionName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$`)

func (b *beginning) chooseName() error {
	if b.name == "" {
		absolute, err := filepath.Abs(b.folder)
		if err != nil {
			return err
		}
		b.name = filepath.Base(absolute)
	}
	if !functionName.MatchString(b.name) {
		return cmdline.Advise(cmdline.Usagef("%q cannot be the name of a function: at most 50 of a-z, 0-9 and '-', beginning with a letter", b.name),
			"choose one with --name")
	}
	return nil
}

// placeholder is what every template calls its function.
const placeholder = "function"

// render is the template's files with the name put in, where names stand: in
// the manifest and in what npm reads.
func (b *beginning) render(t template) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(t.files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(t.files, name)
		if err != nil {
			return err
		}
		switch filepath.Base(name) {
		case "knit.yaml":
			content = []byte(strings.Replace(string(content), "\n  name: "+placeholder+"\n", "\n  name: "+b.name+"\n", 1))
		case "package.json", "package-lock.json":
			content = []byte(strings.ReplaceAll(string(content), `"name": "`+placeholder+`"`, `"name": "`+b.name+`"`))
		case "go.mod.txt", "go.sum.txt":
			name = strings.TrimSuffix(name, ".txt")
		}
		files[name] = content
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read template %s of %s: %w", t.Name, t.Language, err)
	}
	return files, nil
}

// write writes all files, or none when one of them is there already.
func (b *beginning) write(files map[string][]byte) error {
	var taken []string
	for name := range files {
		if _, err := os.Lstat(filepath.Join(b.folder, filepath.FromSlash(name))); err == nil {
			taken = append(taken, name)
		}
	}
	if len(taken) > 0 {
		return b.refuse(taken)
	}
	for name, content := range files {
		target := filepath.Join(b.folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("make folder for %s: %w", target, err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", target, err)
		}
	}
	fmt.Fprintf(b.env.Err, "Wrote %d files to %s\nnext: knit deploy %s\n", len(files), b.folder, b.folder)
	return nil
}
