package test

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

func TestArchEveryPackageHasAComment(t *testing.T) {
	wantNoFaults(t, missingPackageComments(sources(t, tree(t))))
}

func missingPackageComments(all []source) []string {
	commented := make(map[string]bool)
	for _, s := range all {
		commented[s.dir] = commented[s.dir] || s.ast.Doc != nil
	}
	var faults []string
	for dir, ok := range commented {
		if !ok {
			faults = append(faults, dir+": no file has a package comment")
		}
	}
	slices.Sort(faults)
	return faults
}

func TestArchFilesAndFunctionsAreShort(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		if !s.isTest() {
			faults = append(faults, tooLong(s)...)
		}
	}
	wantNoFaults(t, faults)
}

// tooLong reports a file or function over its limit that does not say why: a
// file by "long file:" within its first 20 lines, a function by "long
// function:" in its comment.
func tooLong(s source) []string {
	var faults []string
	if n := s.lines(); n > maxFileLines {
		head := strings.SplitN(s.text, "\n", 21)
		if !strings.Contains(strings.Join(head[:20], "\n"), "long file:") {
			faults = append(faults, fmt.Sprintf("%s: %d lines, more than %d, and no comment \"long file:\" at its head says why", s.path, n, maxFileLines))
		}
	}
	for _, decl := range s.ast.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
		if n > maxFunctionLines && !strings.Contains(f.Doc.Text(), "long function:") {
			faults = append(faults, fmt.Sprintf("%s: %s has %d lines, more than %d, and no \"long function:\" in its comment says why", s.at(f), f.Name.Name, n, maxFunctionLines))
		}
	}
	return faults
}

// globals are package-level variables that are neither errors, tables nor
// interface checks, by "folder: name", with the reason why each must be one.
func globals() map[string]string {
	return map[string]string{
		"conf: example":            "go:embed of example.toml needs a variable",
		"conf: profiles":           "go:embed of a folder needs a variable",
		"internal/version: commit": "the linker sets it",
		"upstream/mqtt: buffers":   "a sync.Pool works only when all connections share it",
		"upstream: eventLists":     "a sync.Pool works only when all connections share it",
	}
}

func TestArchNoGlobalStateAndNoInit(t *testing.T) {
	wantNoFaults(t, globalState(sources(t, tree(t)), globals()))
}

// globalState reports init functions and package-level variables that can be
// state: all but "var _", errors, listed exceptions, and tables (array, slice
// and map literals) that no code of their package changes.
func globalState(all []source, exceptions map[string]string) []string {
	changed := make(map[string]bool) // "folder: name"
	for _, s := range all {
		if !s.isTest() {
			markChanged(s, changed)
		}
	}
	var faults []string
	for _, s := range all {
		if s.isTest() {
			continue
		}
		for _, decl := range s.ast.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
				faults = append(faults, s.at(f)+": init function")
			}
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					key := s.dir + ": " + name.Name
					if name.Name == "_" || exceptions[key] != "" || constantLike(v, i) && !changed[key] {
						continue
					}
					faults = append(faults, fmt.Sprintf("%s: package-level variable %s is neither an error nor an unchanged table", s.at(name), name.Name))
				}
			}
		}
	}
	return faults
}

// constantLike reports whether the i-th variable of v is an error or a table by
// its initial value.
func constantLike(v *ast.ValueSpec, i int) bool {
	if len(v.Values) != len(v.Names) {
		return false
	}
	if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "error" {
		return true
	}
	switch value := v.Values[i].(type) {
	case *ast.CallExpr:
		f, ok := value.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		x, ok := f.X.(*ast.Ident)
		return ok && (x.Name == "errors" && f.Sel.Name == "New" || x.Name == "fmt" && f.Sel.Name == "Errorf")
	case *ast.CompositeLit:
		switch value.Type.(type) {
		case *ast.ArrayType, *ast.MapType:
			return true
		}
	}
	return false
}

// markChanged notes the names that code of s assigns to, takes the address of,
// or hands to delete or clear, whole or in part. It does not know of local
// variables with the same name; a false alarm is cured by another name.
func markChanged(s source, changed map[string]bool) {
	mark := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				changed[s.dir+": "+x.Name] = true
				return
			default:
				return
			}
		}
	}
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					mark(e)
				}
			}
		case *ast.IncDecStmt:
			mark(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				mark(n.X)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
				mark(n.Args[0])
			}
		}
		return true
	})
}

func TestArchTestsDoNotSkip(t *testing.T) {
	var faults []string
	for _, s := range sources(t, tree(t)) {
		if s.isTest() || strings.HasPrefix(s.path, "test/") {
			faults = append(faults, skips(s)...)
		}
	}
	wantNoFaults(t, faults)
}

// skips reports calls of Skip, Skipf, SkipNow and testing.Short outside of fuzz
// targets, which skip inputs that are none.
func skips(s source) []string {
	var faults []string
	for _, decl := range s.ast.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, _ := f.X.(*ast.Ident)
			if slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, f.Sel.Name) && x != nil && slices.Contains([]string{"t", "b", "tb"}, x.Name) ||
				f.Sel.Name == "Short" && x != nil && x.Name == "testing" {
				faults = append(faults, s.at(call)+": a skipped test proves nothing")
			}
			return true
		})
	}
	return faults
}

// phrase is text that no file of the project may hold.
type phrase struct {
	re  *regexp.Regexp
	why string
}

// phrases are put together from parts, so that this file does not hold them.
func phrases() []phrase {
	any := func(words ...string) string { return "(?:" + strings.Join(words, "|") + ")" }
	return []phrase{
		{regexp.MustCompile(`\b` + any("TO"+"DO", "FIX"+"ME", "XX"+"X", "HA"+"CK") + `\b`), "unfinished work belongs into an issue"},
		{regexp.MustCompile(`(?:^|[^\w.*/-])/` + any("wo"+"rk", "ro"+"ot", "ho"+"me") + `(?:/|\b)`), "path of one machine"},
		{regexp.MustCompile(`\.\./sha` + `red|\bsha` + `red/(?:spec|DESIGN|behaviours|libraries|peers|style|bench)`), "path of one machine"},
		{regexp.MustCompile(`(?i)\b` + any("go"+"proxy", "docker"+`\.io`, "gh"+`cr\.io`, "qu"+`ay\.io`) + `\b`), "host of one machine's set-up"},
		// As a broker the one that ends in x may be named.
		{regexp.MustCompile(`(?i)\b` + any("bisq"+"uitt", "em"+"q", "em"+"qx[ _-]?(?:sn|gate)", "rs"+"mb", "simon"+"622", "paho[ -]gate"+"way", "mqtt-sn-gate"+"way-c") + `\b`), "the project speaks of itself alone"},
		{regexp.MustCompile(`(?i:\b` + any("clau"+"de", "anthro"+"pic", "open"+"ai", "chat"+"gpt", "copi"+"lot", "language mo"+"dels?") + `\b)|\b` + any("A"+"I", "LL"+"Ms?") + `\b`), "the project speaks of itself alone"},
	}
}

func TestArchNoForbiddenPhrases(t *testing.T) {
	wantNoFaults(t, forbidden(tree(t)))
}

func forbidden(files []file) []string {
	var faults []string
	for _, f := range files {
		if f.path == "LICENSE" || f.path == "go.sum" {
			continue // not our words
		}
		for _, p := range phrases() {
			for _, at := range p.re.FindAllStringIndex(f.text, -1) {
				line := 1 + strings.Count(f.text[:at[1]], "\n") // of the end: a match may begin with the line break before
				faults = append(faults, fmt.Sprintf("%s:%d: %q: %s", f.path, line, strings.TrimSpace(f.text[at[0]:at[1]]), p.why))
			}
		}
	}
	return faults
}
