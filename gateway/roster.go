package gateway

import "sort"

func newRoster() roster {
	return roster{byID: make(map[string]*entry), claimed: make(map[string]*entry)}
}

// find returns the entry of a client id, or nil.
func (r *roster) find(clientID string) *entry { return r.byID[clientID] }

// add puts an entry at the end.
func (r *roster) add(e *entry) {
	r.byID[e.session.ClientID()] = e
	r.last++
	e.serial = r.last
	r.list, r.serial = append(r.list, e), append(r.serial, r.last)
}

// remove takes an entry out. The places of those that have gone are given back when they
// are half of the list.
func (r *roster) remove(e *entry) {
	delete(r.byID, e.session.ClientID())
	i := r.after(e.serial - 1)
	if i == len(r.list) || r.list[i] != e {
		return
	}
	r.list[i] = nil
	if r.gone++; 2*r.gone <= len(r.list) {
		return
	}
	var list []*entry
	var serial []uint64
	for i, e := range r.list {
		if e != nil {
			list, serial = append(list, e), append(serial, r.serial[i])
		}
	}
	r.list, r.serial, r.gone = list, serial, 0
}

// after finds the first place behind a serial number.
func (r *roster) after(serial uint64) int {
	return sort.Search(len(r.serial), func(i int) bool { return r.serial[i] > serial })
}

// page returns up to limit entries behind a serial number.
func (r *roster) page(serial uint64, limit int) []*entry {
	var page []*entry
	for i := r.after(serial); i < len(r.list) && len(page) < limit; i++ {
		if r.list[i] != nil {
			page = append(page, r.list[i])
		}
	}
	return page
}
