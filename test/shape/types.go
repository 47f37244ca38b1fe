package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// methods counts, over all types, the most methods that one type has, and the most files that
// the methods of one type are in. Methods of embedded types belong to those.
func methods(pkgs []*packages.Package) []figure {
	most := figure{count: "methods of one type"}
	wide := figure{count: "files with methods of one type"}
	for _, p := range pkgs {
		count, files := make(map[string]int), make(map[string]map[string]bool)
		for i, f := range p.Syntax {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Recv == nil {
					continue
				}
				name := receiver(fn)
				count[name]++
				if files[name] == nil {
					files[name] = make(map[string]bool)
				}
				files[name][p.CompiledGoFiles[i]] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(count)) {
			where := short(p) + "." + name
			if count[name] > most.n {
				most.n, most.where = count[name], where
			}
			if len(files[name]) > wide.n {
				wide.n, wide.where = len(files[name]), where
			}
		}
	}
	return []figure{most, wide}
}

// receiver is the name of the type that a method belongs to.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return "?"
		}
	}
}

// plain are the large structs that hold no state, with the reason. Their fields do not count.
func plain() map[string]string {
	return map[string]string{
		"conf.Session":           "keys of the configuration, read-only once it is checked",
		"conf.Broker":            "the same",
		"gateway.Options":        "options, read-only after the start",
		"gateway/session.Config": "options, read-only",
		"upstream.Options":       "options, read-only",
		"upstream.Stats":         "counters, each by itself",
		"gateway/metrics.descs":  "a table: the description of each metric",
	}
}

// fields counts the fields of the largest struct that holds state. An embedded struct is one
// field; a type declared inside a function counts as well.
func fields(pkgs []*packages.Package) figure {
	type sized struct {
		name string
		n    int
	}
	var all []sized
	for _, p := range pkgs {
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				s, ok := p.TypesInfo.Defs[spec.Name].Type().Underlying().(*types.Struct)
				if name := short(p) + "." + spec.Name.Name; ok && plain()[name] == "" {
					all = append(all, sized{name, s.NumFields()})
				}
				return true
			})
		}
	}
	slices.SortFunc(all, func(a, b sized) int { return cmp.Or(b.n-a.n, cmp.Compare(a.name, b.name)) })
	result := figure{count: "fields of one struct with state"}
	if len(all) > 0 {
		result.n, result.where = all[0].n, all[0].name
		for _, next := range all[1:min(len(all), 3)] {
			result.where += fmt.Sprintf(", %s %d", next.name, next.n)
		}
	}
	return result
}

// short is a package's path within the module.
func short(p *packages.Package) string { return strings.TrimPrefix(p.PkgPath, module) }
