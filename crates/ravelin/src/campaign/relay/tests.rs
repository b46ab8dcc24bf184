use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(150);

/// A server that says everything back, and a connection to it through gates.
struct Echo {
    end: TcpStream,
    dialer: watch::Sender<Gate>,
    dialed: watch::Sender<Gate>,
}

async fn bind() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn echo() -> SocketAddr {
    let (listener, address) = bind().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

impl Echo {
    async fn new() -> Self {
        let target = echo().await;
        let (listener, front) = bind().await;
        let end = TcpStream::connect(front).await.expect("connected");
        let (near, _) = listener.accept().await.expect("accepted");
        let (dialer, dialed) = (watch::Sender::new(Gate::Open), watch::Sender::new(Gate::Open));
        let passage = Passage { dialer: Some(dialer.subscribe()), dialed: dialed.subscribe() };
        tokio::spawn(carry(near, target, passage));
        Self { end, dialer, dialed }
    }

    async fn says(&mut self, byte: u8) {
        self.end.write_all(&[byte]).await.expect("written");
    }

    /// The next byte that comes back; `None` if the connection ends.
    async fn hears(&mut self, most: Duration) -> Result<Option<u8>, tokio::time::error::Elapsed> {
        let mut byte = [0];
        let read = tokio::time::timeout(most, self.end.read_exact(&mut byte)).await?;
        Ok(read.ok().map(|_| byte[0]))
    }
}

#[tokio::test]
async fn a_gate_holds_what_goes_the_forbidden_way_and_lets_it_go_on_later() {
    for (dialer, dialed) in [
        (Gate::OutOnly, Gate::Open),
        (Gate::InOnly, Gate::Open),
        (Gate::Open, Gate::OutOnly),
        (Gate::Open, Gate::InOnly),
    ] {
        let mut echo = Echo::new().await;
        echo.says(1).await;
        assert_eq!(echo.hears(SOON).await, Ok(Some(1)));
        echo.dialer.send_replace(dialer);
        echo.dialed.send_replace(dialed);
        echo.says(2).await;
        assert!(echo.hears(NEVER).await.is_err(), "{dialer:?} {dialed:?}");
        echo.dialer.send_replace(Gate::Open);
        echo.dialed.send_replace(Gate::Open);
        assert_eq!(echo.hears(SOON).await, Ok(Some(2)));
    }
}

#[tokio::test]
async fn a_closed_gate_at_either_end_closes_the_connection() {
    for is_dialed in [false, true] {
        let mut echo = Echo::new().await;
        echo.says(1).await;
        assert_eq!(echo.hears(SOON).await, Ok(Some(1)));
        if is_dialed { &echo.dialed } else { &echo.dialer }.send_replace(Gate::Closed);
        assert_eq!(echo.hears(SOON).await, Ok(None));
    }
}

#[tokio::test]
async fn a_closed_gate_refuses_new_connections_until_it_opens() {
    let gate = watch::Sender::new(Gate::Closed);
    let (listener, front) = bind().await;
    let door = Door { target: echo().await, gate: gate.subscribe(), recognise: None };
    tokio::spawn(door.serve(listener));
    for (to, answer) in [(Gate::Closed, None), (Gate::Open, Some(7))] {
        gate.send_replace(to);
        let mut end = TcpStream::connect(front).await.expect("connected");
        let mut byte = [0];
        let asked = async {
            end.write_all(&[7]).await.ok()?;
            end.read_exact(&mut byte).await.ok()
        };
        let heard = tokio::time::timeout(SOON, asked).await.expect("in time");
        assert_eq!(heard.map(|_| byte[0]), answer);
    }
}

#[tokio::test]
async fn a_stranger_is_not_let_through_to_where_servers_are_heard() {
    let scratch = crate::files::tests::Scratch::new();
    let fronts = Fronts::listen(4).expect("listens");
    let addresses = fronts.addresses().expect("bound");
    let model = ravelin_model::FaultModel::Arbitrary;
    let cluster = LocalCluster::create_behind(&addresses, &scratch.path("c"), 4, model);
    let cluster = Arc::new(cluster.expect("made"));
    // Were we let through, our own listener in the server's place would hear us.
    let behind = tokio::net::TcpListener::bind(cluster.servers[0].config.peer_listen).await;
    let behind = behind.expect("the port is free");
    let _relays = Relays::start(fronts, &cluster).expect("started");
    let mut end = TcpStream::connect(addresses[0].peer).await.expect("connected");
    let ended = tokio::time::timeout(SOON, end.read(&mut [0])).await.expect("in time");
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(tokio::time::timeout(NEVER, behind.accept()).await.is_err());
}
