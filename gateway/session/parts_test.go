package session

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOnlyTheOwnerAssignsToAPart: what one part wants of another it says by a method. Load
// fills the parts of a session that is not in use yet.
func TestOnlyTheOwnerAssignsToAPart(t *testing.T) {
	text, err := os.ReadFile("parts.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "// The parts of the session.")
	list, _, _ = strings.Cut(list, "\n}")
	var parts []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+) +\w+$`).FindAllStringSubmatch(list, -1) {
		parts = append(parts, m[1])
	}
	if len(parts) < 10 {
		t.Fatalf("parts %q are not all", parts)
	}
	foreign := regexp.MustCompile(`\bs\.(` + strings.Join(parts, "|") + `)\.\w[\w.\[\]]*(, [\w.\[\]]+)* *([-+|&]?=[^=]|\+\+|--)`)
	if !foreign.MatchString("ul.s.down.queue.head, x = 1, 2") || foreign.MatchString("dl.s.up.window == 1") {
		t.Fatal("the pattern does not tell assignments")
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "restart.go" {
			continue
		}
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(code), "\n") {
			line, _, _ = strings.Cut(line, "//")
			if foreign.MatchString(line) && !strings.Contains(line, ".s = s") && !strings.Contains(line, ".s, s.") {
				t.Errorf("%s:%d: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}

// TestQuestionsChangeNothing: whoever asks need not know what the answer depends on.
func TestQuestionsChangeNothing(t *testing.T) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "questions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	methods := 0
	changed := func(at ast.Expr) {
		if _, ok := at.(*ast.Ident); !ok {
			t.Errorf("%v: changes something", files.Position(at.Pos()))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			methods++
		case *ast.AssignStmt:
			for _, at := range n.Lhs {
				changed(at)
			}
		case *ast.IncDecStmt:
			changed(n.X)
		}
		return true
	})
	if methods < 10 {
		t.Errorf("%d questions are not all", methods)
	}
}
