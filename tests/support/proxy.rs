//! A network that breaks: a proxy before the agent whose connections can be cut, in the middle of a message, and which
//! can be closed and opened again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Proxy {
    address: SocketAddr,
    wires: Arc<Wires>,
}

struct Wires {
    to: Mutex<SocketAddr>,
    live: Mutex<Vec<TcpStream>>,
    /// Each connection is cut after so many bytes.
    most_bytes: AtomicU64,
    /// As often as this.
    cuts_left: AtomicUsize,
    cuts: AtomicUsize,
    down: AtomicBool,
}

impl Proxy {
    pub fn to(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wires = Arc::new(Wires {
            to: Mutex::new(to),
            live: Mutex::default(),
            most_bytes: AtomicU64::new(u64::MAX),
            cuts_left: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            down: AtomicBool::new(false),
        });
        let proxy = Proxy { address: listener.local_addr().unwrap(), wires: wires.clone() };
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // Nothing there: the client is refused after it was accepted, which is as good.
                if !wires.down.load(Ordering::SeqCst) {
                    wires.join(client);
                }
            }
        });
        proxy
    }

    /// The agent's URL, by way of this.
    pub fn url(&self, token: &str) -> String {
        format!("http://{}/#token={token}", self.address)
    }

    /// The next `times` connections are cut after `bytes` each.
    pub fn cut_after(&self, bytes: u64, times: usize) {
        self.wires.cuts_left.store(times, Ordering::SeqCst);
        self.wires.most_bytes.store(bytes, Ordering::SeqCst);
    }

    pub fn cuts(&self) -> usize {
        self.wires.cuts.load(Ordering::SeqCst)
    }

    /// Cuts what there is.
    pub fn cut(&self) {
        for wire in self.wires.live.lock().unwrap().drain(..) {
            let _ = wire.shutdown(Shutdown::Both);
        }
        self.wires.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Cuts, and lets nobody through.
    pub fn down(&self) {
        self.wires.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn up(&self) {
        self.wires.down.store(false, Ordering::SeqCst);
    }

    /// From now on it leads to another agent.
    pub fn turn_to(&self, to: SocketAddr) {
        *self.wires.to.lock().unwrap() = to;
    }
}

impl Wires {
    fn join(self: &Arc<Self>, client: TcpStream) {
        let to = *self.to.lock().unwrap();
        let Ok(agent) = TcpStream::connect(to) else { return };
        client.set_nodelay(true).unwrap();
        agent.set_nodelay(true).unwrap();
        self.live.lock().unwrap().extend([client.try_clone().unwrap(), agent.try_clone().unwrap()]);
        let passed = Arc::new(AtomicU64::new(0));
        for (from, to) in [(client.try_clone().unwrap(), agent.try_clone().unwrap()), (agent, client)] {
            let (wires, passed) = (self.clone(), passed.clone());
            thread::spawn(move || wires.carry(from, to, &passed));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, passed: &AtomicU64) {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let before = passed.fetch_add(read as u64, Ordering::SeqCst);
            let most = self.most_bytes.load(Ordering::SeqCst).saturating_sub(before);
            let spend = |left: usize| left.checked_sub(1);
            let cut = (read as u64) > most
                && self.cuts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok();
            let part = if cut { &buffer[..most as usize] } else { &buffer[..read] };
            if cut {
                self.cuts.fetch_add(1, Ordering::SeqCst);
            }
            if to.write_all(part).is_err() || cut {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
