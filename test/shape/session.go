package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// spread counts the fields of the session that are assigned in more than two files. To assign
// to a part of a field (s.a.b = 1, s.a[0]++) is to assign to the field. The literal that makes a
// session, and what methods of a field's own type do, do not count.
func spread(pkgs []*packages.Package) figure {
	files := make(map[string]map[string]bool) // by field
	for _, p := range pkgs {
		for i, f := range p.Syntax {
			assigned(f, func(e ast.Expr) {
				for _, name := range sessionFields(p, e) {
					if files[name] == nil {
						files[name] = make(map[string]bool)
					}
					files[name][p.CompiledGoFiles[i]] = true
				}
			})
		}
	}
	result := figure{count: "session fields assigned in more than 2 files"}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if len(files[name]) > 2 {
			result.n++
			names = append(names, fmt.Sprint(name, " ", len(files[name])))
		}
	}
	result.where = strings.Join(names, ", ")
	return result
}

// assigned calls found with every expression that a file assigns to.
func assigned(f *ast.File, found func(ast.Expr)) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				if n.Tok != token.DEFINE {
					found(e)
				}
			}
		case *ast.IncDecStmt:
			found(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN && n.Key != nil {
				found(n.Key)
			}
			if n.Tok == token.ASSIGN && n.Value != nil {
				found(n.Value)
			}
		}
		return true
	})
}

// sessionFields are the fields of the session that e is, or is a part of.
func sessionFields(p *packages.Package, e ast.Expr) (names []string) {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			if s := p.TypesInfo.Selections[x]; s != nil && s.Kind() == types.FieldVal && isNamed(s.Recv(), sessionPath, sessionType) {
				names = append(names, x.Sel.Name)
			}
			e = x.X
		default:
			return names
		}
	}
}

// isNamed reports whether t is the type of that name, or a pointer to it.
func isNamed(t types.Type, path string, names ...string) bool {
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	named, ok := t.(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return false
	}
	return strings.HasPrefix(named.Obj().Pkg().Path(), path) && slices.Contains(names, named.Obj().Name())
}

// What asks whether there is a store, or whether it works: these types compared with nil; calls of
// methods with these names, of those types or of the session; and fields with these names that are
// read. The journal itself may ask as well, and is counted with the rest.
func storeTypes() []string   { return []string{"durable", "journal"} }
func storeMethods() []string { return []string{"storing", "accepts", "refuses"} }
func storeFields() []string  { return []string{"Durable", "StoreDown", "StoreOK"} }

// storeTests counts the expressions of the session that ask "is there a store".
func storeTests(pkgs []*packages.Package) figure {
	result := figure{count: "tests of \"is there a store\" in the session"}
	files := make(map[string]bool)
	for _, p := range pkgs {
		for i, f := range p.Syntax {
			written := make(map[ast.Expr]bool)
			assigned(f, func(e ast.Expr) { written[e] = true })
			ast.Inspect(f, func(n ast.Node) bool {
				if e, ok := n.(ast.Expr); ok && !written[e] && asksForStore(p, e) {
					result.n++
					files[p.CompiledGoFiles[i]] = true
				}
				return true
			})
		}
	}
	result.where = fmt.Sprintf("in %d files", len(files))
	return result
}

// asksForStore reports whether e itself, not an expression inside it, asks for the store.
func asksForStore(p *packages.Package, e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		if x.Op != token.EQL && x.Op != token.NEQ {
			return false
		}
		for _, pair := range [][2]ast.Expr{{x.X, x.Y}, {x.Y, x.X}} {
			if p.TypesInfo.Types[pair[1]].IsNil() && isNamed(p.TypesInfo.TypeOf(pair[0]), sessionPath, storeTypes()...) {
				return true
			}
		}
	case *ast.CallExpr:
		f, ok := x.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(storeMethods(), f.Sel.Name) {
			return false
		}
		s := p.TypesInfo.Selections[f]
		return s != nil && s.Kind() == types.MethodVal && isNamed(s.Recv(), sessionPath, append(storeTypes(), sessionType)...)
	case *ast.SelectorExpr:
		s := p.TypesInfo.Selections[x]
		return s != nil && s.Kind() == types.FieldVal && slices.Contains(storeFields(), x.Sel.Name)
	}
	return false
}

// codecFiles counts the files below the session, outside of the dialogue, that import the
// codec of MQTT-SN 1.2.
func codecFiles(pkgs []*packages.Package) figure {
	result := figure{count: "session files outside the dialogue that name sn12"}
	var names []string
	for _, p := range pkgs {
		for i, f := range p.Syntax {
			if p.PkgPath == dialoguePath || !slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"`+codecPath+`"` }) {
				continue
			}
			result.n++
			names = append(names, strings.TrimSuffix(filepath.Base(p.CompiledGoFiles[i]), ".go"))
		}
	}
	result.where = strings.Join(names, ", ")
	return result
}
