package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// largePackage is the number of lines above which a package's files have to be in an order.
const largePackage = 1500

// areas are the parts of the tree whose large packages are counted together, so that a package
// may be cut into several and the figure still be compared. The longest that fits counts.
func areas() []string {
	return []string{"gateway/session", "gateway", "upstream", "store", ""}
}

// upward counts, in each area, the references that point back up between the files of one
// package, in packages of more than largePackage lines.
//
// A file refers to another if it names a function, method, type, constant or variable that the
// other declares; once, however often. Files are put into the order in which the fewest
// references point from a later file back to an earlier one; those that do point up. Their least
// number (a minimum feedback arc set) is hard to find, so [order] approximates it; it gives the
// same figure for the same code.
func upward(pkgs []*packages.Package) []figure {
	figures := make([]figure, len(areas()))
	for i, area := range areas() {
		figures[i].count = strings.TrimSpace("references up, " + area)
		if area == "" {
			figures[i].count = "references up, elsewhere"
		}
	}
	for _, p := range pkgs {
		g := fileGraph(p)
		if g.lines <= largePackage {
			continue
		}
		at := slices.IndexFunc(areas(), func(area string) bool {
			return area == "" || short(p) == area || strings.HasPrefix(short(p), area+"/")
		})
		n := g.up(g.order())
		figures[at].n += n
		figures[at].where = strings.TrimPrefix(fmt.Sprintf("%s, %s %d of %d", figures[at].where, short(p), n, g.edges), ", ")
	}
	return figures
}

// graph is which file refers to which.
type graph struct {
	files []string
	to    [][]bool
	edges int
	lines int
}

func fileGraph(p *packages.Package) *graph {
	g := &graph{}
	index := make(map[string]int)
	for i, f := range p.Syntax {
		index[p.CompiledGoFiles[i]] = i
		g.files = append(g.files, filepath.Base(p.CompiledGoFiles[i]))
		g.to = append(g.to, make([]bool, len(p.Syntax)))
		g.lines += p.Fset.File(f.Pos()).LineCount()
	}
	for i, f := range p.Syntax {
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			obj := p.TypesInfo.Uses[id]
			if obj == nil || obj.Pkg() != p.Types || !declared(obj) {
				return true
			}
			if j, ok := index[p.Fset.Position(obj.Pos()).Filename]; ok && j != i && !g.to[i][j] {
				g.to[i][j] = true
				g.edges++
			}
			return true
		})
	}
	return g
}

// declared reports whether obj is declared at the top of a file, or is a method.
func declared(obj types.Object) bool {
	if fn, ok := obj.(*types.Func); ok {
		return fn.Origin().Pkg() != nil
	}
	return obj.Parent() == obj.Pkg().Scope()
}

// up is how many references point from a file to one before it in the order.
func (g *graph) up(order []int) (n int) {
	for i, from := range order {
		for _, to := range order[:i] {
			if g.to[from][to] {
				n++
			}
		}
	}
	return n
}

// order puts the files into an order in which few references point up: a greedy start (Eades,
// Lin and Smyth 1993), then files are moved one at a time while that helps.
func (g *graph) order() []int {
	order := g.greedy()
	for better := true; better; {
		better = false
		for i := range order {
			moved := slices.Delete(slices.Clone(order), i, i+1)
			best, at := g.up(order), -1
			for j := 0; j <= len(moved); j++ {
				if n := g.up(slices.Insert(slices.Clone(moved), j, order[i])); n < best {
					best, at = n, j
				}
			}
			if at >= 0 {
				order = slices.Insert(moved, at, order[i])
				better = true
			}
		}
	}
	return order
}

// greedy takes away, again and again, the files that refer to no other left (they go last), those
// that no other refers to (first), or the one that refers to most more than refer to it (first).
func (g *graph) greedy() []int {
	left := make([]int, len(g.files))
	for i := range left {
		left[i] = i
	}
	var first, last []int
	for len(left) > 0 {
		pick, most := -1, 0
		for i, f := range left {
			out, in := 0, 0
			for _, other := range left {
				if g.to[f][other] {
					out++
				}
				if g.to[other][f] {
					in++
				}
			}
			rank := out - in
			if out == 0 || in == 0 {
				rank = len(g.files) * 2 // beyond any difference
			}
			if pick < 0 || rank > most {
				pick, most = i, rank
			}
		}
		f := left[pick]
		left = slices.Delete(left, pick, pick+1)
		if slices.ContainsFunc(left, func(other int) bool { return g.to[f][other] }) {
			first = append(first, f)
		} else {
			last = append(last, f)
		}
	}
	slices.Reverse(last)
	return append(first, last...)
}
