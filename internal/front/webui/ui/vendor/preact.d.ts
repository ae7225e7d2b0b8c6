// The part of Preact that the UI uses, for who checks its types. What html`` makes is not checked.
export type VNode = any;
export const html: (strings: TemplateStringsArray, ...values: any[]) => VNode;
export const h: (type: any, props?: any, ...children: any[]) => VNode;
export const Fragment: any;
export function render(node: VNode, at: Element): void;
export function createContext<T>(value: T): { Provider: any; Consumer: any; value?: T };
export function createPortal(node: VNode, at: Element): VNode;
export function useState<S>(first: S | (() => S)): [S, (next: S | ((was: S) => S)) => void];
export function useReducer<S, A>(step: (was: S, action: A) => S, first: S): [S, (action: A) => void];
export function useEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useRef<T>(first: T): { current: T };
export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
export function useCallback<F extends Function>(f: F, inputs: readonly unknown[]): F;
export function useContext<T>(context: { Provider: any; value?: T }): T;
export function useId(): string;
export function useErrorBoundary(): [any, () => void];
