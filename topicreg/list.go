package topicreg

import "slices"

// All yields every predefined id that has a meaning for client, with its topic name, in id
// order. It is for people to read, and takes time in proportion to the set.
func (p *Predefined) All(client string, yield func(id uint16, name string) bool) {
	if p == nil {
		return
	}
	var ids []uint16
	for _, e := range p.entries {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if name, ok := p.Name(client, id); ok && !yield(id, name) {
			return
		}
	}
}
