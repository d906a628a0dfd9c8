// A whole life by Consul's own Go API: register, heartbeat, query, watch, deregister,
// register again after a loss, keys and a lock. The agent is that of CONSUL_HTTP_ADDR.
// Says each step that went well and ends with 1 at the first that did not.
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"time"

	"github.com/hashicorp/consul/api"
)

const check = "service:orders-1"

func service() *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID: "orders-1", Name: "orders", Address: "127.0.0.1", Port: 9001,
		Tags: []string{"v1"}, Meta: map[string]string{"team": "shop"},
		Check: &api.AgentServiceCheck{TTL: "30s", Notes: "told by the service"},
	}
}

type life struct{ *api.Client }

func main() {
	client, err := api.NewClient(api.DefaultConfig())
	must(err)
	l := life{client}
	steps := []struct {
		name string
		step func()
	}{
		{"registers", l.registers},
		{"beats", l.beats},
		{"queries", l.queries},
		{"watches", l.watches},
		{"registers again after a loss", l.registersAgain},
		{"keeps keys", l.keepsKeys},
		{"locks", l.locks},
		{"deregisters", l.deregisters},
	}
	for _, one := range steps {
		one.step()
		fmt.Println(one.name)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		fmt.Fprintf(os.Stderr, "got %v, wanted %v\n", got, wanted)
		panic("it differs")
	}
}

func (l life) passing() []string {
	entries, _, err := l.Health().Service("orders", "", true, nil)
	must(err)
	return ids(entries)
}

func ids(entries []*api.ServiceEntry) []string {
	found := []string{}
	for _, entry := range entries {
		found = append(found, entry.Service.ID)
	}
	sort.Strings(found)
	return found
}

func (l life) registers() {
	must(l.Agent().ServiceRegister(service()))
	same(l.passing(), []string{})
	one, _, err := l.Agent().Service("orders-1", nil)
	must(err)
	same(one.Meta["team"], "shop")
}

func (l life) beats() {
	must(l.Agent().UpdateTTL(check, "fine", api.HealthPassing))
	same(l.passing(), []string{"orders-1"})
	status, infos, err := l.Agent().AgentHealthServiceByName("orders")
	must(err)
	same([]any{status, len(infos)}, []any{api.HealthPassing, 1})
	must(l.Agent().UpdateTTL(check, "slow", api.HealthWarning))
	checks, err := l.Agent().Checks()
	must(err)
	same([]string{checks[check].Status, checks[check].Output}, []string{"warning", "slow"})
	same(l.passing(), []string{})
	must(l.Agent().UpdateTTL(check, "fine", api.HealthPassing))
}

func (l life) queries() {
	services, meta, err := l.Catalog().Services(&api.QueryOptions{RequireConsistent: true})
	must(err)
	same(services["orders"], []string{"v1"})
	same(meta.KnownLeader && meta.LastIndex > 0, true)
	rows, _, err := l.Catalog().Service("orders", "v1", nil)
	must(err)
	same([]any{len(rows), rows[0].ServicePort}, []any{1, 9001})
	filter := &api.QueryOptions{Filter: `Service.Meta.team == "shop"`, AllowStale: true}
	entries, _, err := l.Health().Service("orders", "", false, filter)
	must(err)
	same(ids(entries), []string{"orders-1"})
	node, err := l.Agent().NodeName()
	must(err)
	on, _, err := l.Catalog().Node(node, nil)
	must(err)
	same(on.Services["orders-1"].Service, "orders")
	leader, err := l.Status().Leader()
	must(err)
	same(leader != "", true)
}

func (l life) watches() {
	_, meta, err := l.Health().Service("orders", "", true, nil)
	must(err)
	found := make(chan []string, 1)
	go func() {
		options := &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second}
		entries, later, err := l.Health().Service("orders", "", true, options)
		must(err)
		same(later.LastIndex > meta.LastIndex, true)
		found <- ids(entries)
	}()
	second := service()
	second.ID, second.Check = "orders-2", nil
	must(l.Agent().ServiceRegister(second))
	select {
	case seen := <-found:
		same(seen, []string{"orders-1", "orders-2"})
	case <-time.After(10 * time.Second):
		panic("the watch did not wake")
	}
	must(l.Agent().ServiceDeregister("orders-2"))
}

func (l life) registersAgain() {
	must(l.Agent().ServiceDeregister("orders-1"))
	err := l.Agent().UpdateTTL(check, "fine", api.HealthPassing)
	lost, is := err.(api.StatusError)
	same(is && lost.Code == 404, true)
	must(l.Agent().ServiceRegister(service()))
	must(l.Agent().UpdateTTL(check, "fine", api.HealthPassing))
	same(l.passing(), []string{"orders-1"})
}

func (l life) keepsKeys() {
	_, err := l.KV().Put(&api.KVPair{Key: "app/name", Value: []byte("orders"), Flags: 7}, nil)
	must(err)
	pair, _, err := l.KV().Get("app/name", nil)
	must(err)
	same([]any{string(pair.Value), pair.Flags}, []any{"orders", uint64(7)})
	stale := &api.KVPair{Key: "app/name", Value: []byte("x"), ModifyIndex: 1}
	done, _, err := l.KV().CAS(stale, nil)
	must(err)
	same(done, false)
	done, _, err = l.KV().CAS(pair, nil)
	must(err)
	same(done, true)
	keys, _, err := l.KV().Keys("app/", "", nil)
	must(err)
	same(keys, []string{"app/name"})
	_, err = l.KV().DeleteTree("app/", nil)
	must(err)
	pair, _, err = l.KV().Get("app/name", nil)
	must(err)
	same(pair == nil, true)
}

func (l life) locks() {
	lock, err := l.LockKey("lock/orders")
	must(err)
	lost, err := lock.Lock(nil)
	must(err)
	other, err := l.LockOpts(&api.LockOptions{Key: "lock/orders", LockTryOnce: true, LockWaitTime: time.Second})
	must(err)
	held, err := other.Lock(nil)
	must(err)
	same(held == nil, true)
	must(lock.Unlock())
	<-lost
	held, err = other.Lock(nil)
	must(err)
	same(held != nil, true)
	must(other.Unlock())
	must(other.Destroy())
}

func (l life) deregisters() {
	must(l.Agent().ServiceDeregister("orders-1"))
	entries, _, err := l.Health().Service("orders", "", false, nil)
	must(err)
	same(ids(entries), []string{})
}
